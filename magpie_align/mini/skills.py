"""The skills of the miniature world: what may be asked, how it is worded, and the one right statement that answers it.

A skill is data: a `Domain` (which arguments exist and how hard they are), wordings of the question by language, and the
statement that answers it. The same statements, without any question, are the plain documents the base model reads.

    Domain    draws arguments of a level and gives the level of arguments (None: outside the language)
    Skill     name, task category, domain, wordings, statements, solver
    SKILLS    all of them by name
    draw_skill  one of them at random
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from magpie_align.mini import lexicon

Args = tuple[str, ...]
DIFFICULTIES = ("very easy", "easy", "medium", "hard", "very hard")
_JOINERS = {"en": " and ", "es": " y "}
_NUMBER = re.compile(r"0|[1-9]\d?")


@dataclass(frozen=True)
class Domain:
    """The arguments a skill takes. `levels` are the indices into DIFFICULTIES that `draw(rng, level)` can serve."""

    levels: range
    draw: Callable[[Random, int], Args]
    level: Callable[[Args], int | None]


@dataclass(frozen=True)
class Skill:
    """One thing that can be asked.

    With `each`, the statement is made once for every argument, as for facts. `weight` is how often it is asked.
    """

    name: str
    category: str
    domain: Domain
    wordings: Mapping[str, tuple[str, ...]]
    statement: Mapping[str, str]
    solve: Callable[[Args], str]
    each: bool = False
    weight: int = 1

    def subject(self, args: Args, language: str = "en") -> str:
        """What a statement is about, written as the statement writes it: a quoted word or a list."""
        return f'"{args[0]}"' if '"{0}"' in self.statement[language] else join(args, language)

    def state(self, args: Args, language: str = "en", source: Args | None = None) -> str:
        """The statement about `args`; giving another `source` of the answer makes a well-formed false one."""
        source = source or args
        form = self.statement[language]
        if self.each:
            return " ".join(form.format(key, answer=self.solve((of,))) for key, of in zip(args, source, strict=True))
        return form.format(*args, list=join(args, language), answer=self.solve(source))


def join(args: Args, language: str) -> str:
    """`a, b and c` in the language."""
    return ", ".join(args[:-1]) + _JOINERS[language] + args[-1] if len(args) > 1 else args[0]


def split(text: str, language: str) -> Args:
    """The inverse of `join`."""
    head, joiner, last = text.rpartition(_JOINERS[language])
    return (*head.split(", "), last) if joiner else (last,)


def _numbers(args: Args) -> list[int] | None:
    return [int(a) for a in args] if all(_NUMBER.fullmatch(a) for a in args) else None


def _below(size: int, rng: Random) -> int:
    """A number of `size` digits (one digit includes 0)."""
    return rng.randrange(10 ** (size - 1) if size > 1 else 0, 10**size)


def _pair_level(crosses: Callable[[int, int], bool | None], args: Args) -> int | None:
    """By digits and, for two digits each, by whether a carry or borrow `crosses` (None: not a legal pair)."""
    numbers = _numbers(args)
    if numbers is None or len(numbers) != 2 or (crossing := crosses(*numbers)) is None:
        return None
    digits = len(args[0]) + len(args[1])
    return 2 + crossing if digits == 4 else digits - 2


def _draw_pair(level_of: Callable[[Args], int | None], rng: Random, level: int) -> Args:
    sizes = ((1, 1), (1, 2), (2, 2), (2, 2))[level]
    while True:
        pair = [str(_below(size, rng)) for size in sizes]
        rng.shuffle(pair)
        if level_of(tuple(pair)) == level:
            return tuple(pair)


def _pairs(crosses: Callable[[int, int], bool | None]) -> Domain:
    level = partial(_pair_level, crosses)
    return Domain(range(4), partial(_draw_pair, level), level)


def _carries(a: int, b: int) -> bool:
    return a % 10 + b % 10 > 9


def _borrows(a: int, b: int) -> bool | None:
    return None if a < b else a % 10 < b % 10


def _number_list(least: int, most: int) -> Domain:
    """`least` to `most` numbers below 100; one level a number."""

    def level(args: Args) -> int | None:
        return len(args) - least if least <= len(args) <= most and _numbers(args) is not None else None

    return Domain(
        range(most - least + 1), lambda rng, wanted: tuple(map(str, rng.sample(range(100), wanted + least))), level
    )


def _keys(known: tuple[str, ...], least: int, most: int) -> Domain:
    """`least` to `most` entries of `known`; one level an entry."""
    members = frozenset(known)

    def level(args: Args) -> int | None:
        return len(args) - least if least <= len(args) <= most and members.issuperset(args) else None

    return Domain(range(most - least + 1), lambda rng, wanted: tuple(rng.sample(known, wanted + least)), level)


_LENGTHS = ((3,), (4,), (5, 6), (7, 8), (9, 10))


def _word_level(args: Args) -> int | None:
    if len(args) != 1 or not re.fullmatch("[a-z]+", args[0]):
        return None
    return next((level for level, lengths in enumerate(_LENGTHS) if len(args[0]) in lengths), None)


def _draw_word(rng: Random, level: int) -> Args:
    """A noun or, as often, a made-up word of alternating consonants and vowels."""
    length, first = rng.choice(_LENGTHS[level]), rng.randrange(2)
    nouns = [noun for noun in lexicon.NOUNS if len(noun) == length]
    if nouns and rng.random() < 0.5:
        return (rng.choice(nouns),)
    return ("".join(rng.choice((lexicon.ONSETS, lexicon.VOWELS)[(first + i) % 2]) for i in range(length)),)


_WORD = Domain(range(5), _draw_word, _word_level)


def _facts(name: str, category: str, table: Mapping[str, str], wordings: tuple[str, ...], statement: str) -> Skill:
    """One to four keys of a table to look up, in English."""
    keys = _keys(tuple(table), 1, 4)
    return Skill(name, category, keys, {"en": wordings}, {"en": statement}, lambda a: table[a[0]], each=True)


SKILLS: dict[str, Skill] = {
    skill.name: skill
    for skill in (
        Skill(
            "add", "Math", _pairs(_carries),
            {"en": ("What is {0} + {1}?", "Add {0} and {1}.", "Compute the sum of {0} and {1}."),
             "es": ("Cuanto es {0} + {1}?", "Suma {0} y {1}.")},
            dict.fromkeys(("en", "es"), "{0} + {1} = {answer}."),
            lambda a: str(int(a[0]) + int(a[1])), weight=3,
        ),
        Skill(
            "subtract", "Math", _pairs(_borrows),
            {"en": ("What is {0} - {1}?", "Take {1} from {0}.", "Subtract {1} from {0}."),
             "es": ("Cuanto es {0} - {1}?", "Resta {1} de {0}.")},
            dict.fromkeys(("en", "es"), "{0} - {1} = {answer}."),
            lambda a: str(int(a[0]) - int(a[1])), weight=3,
        ),
        Skill(
            "largest", "Reasoning", _number_list(2, 6),
            {"en": ("Which is the largest of {list}?", "Find the largest number: {list}.",
                    "Name the biggest of {list}."),
             "es": ("Cual es el mayor de {list}?", "Busca el numero mayor: {list}.")},
            {"en": "The largest of {list} is {answer}.", "es": "El mayor de {list} es {answer}."},
            lambda a: max(a, key=int),
        ),
        Skill(
            "sort", "Data analysis", _number_list(2, 6),
            {"en": ("Sort {list} from low to high.", "Put {list} in order.", "Order these numbers: {list}."),
             "es": ("Ordena los numeros {list}.",)},
            {"en": "In order: {answer}.", "es": "En orden: {answer}."},
            lambda a: ", ".join(sorted(a, key=int)),
        ),
        Skill(
            "count", "Data analysis", _WORD,
            {"en": ('How many letters are in "{0}"?', 'Count the letters of "{0}".', 'How long is the word "{0}"?'),
             "es": ('Cuantas letras tiene "{0}"?',)},
            {"en": 'The word "{0}" has {answer} letters.', "es": 'La palabra "{0}" tiene {answer} letras.'},
            lambda a: str(len(a[0])),
        ),
        Skill(
            "reverse", "Editing", _WORD,
            {"en": ('Reverse the word "{0}".', 'Write "{0}" backwards.', 'Spell "{0}" from the end.'),
             "es": ('Invierte la palabra "{0}".',)},
            {"en": 'The word "{0}" backwards is "{answer}".', "es": 'La palabra "{0}" al reves es "{answer}".'},
            lambda a: a[0][::-1],
        ),
        Skill(
            "uppercase", "Editing", _WORD,
            {"en": ('Write "{0}" in uppercase.', 'Make "{0}" all caps.', 'Turn "{0}" into capital letters.'),
             "es": ('Escribe "{0}" en mayusculas.',)},
            {"en": 'The word "{0}" in uppercase is "{answer}".', "es": 'La palabra "{0}" en mayusculas es "{answer}".'},
            lambda a: a[0].upper(),
        ),
        _facts(
            "plural", "Editing", lexicon.PLURALS,
            ("What is the plural of {list}?", "Give the plural of {list}.", "Rewrite as plural: {list}."),
            "The plural of {0} is {answer}.",
        ),
        _facts(
            "capital", "Information seeking", lexicon.CAPITALS,
            ("What is the capital of {list}?", "Name the capital of {list}.", "Tell me the capital city of {list}."),
            "The capital of {0} is {answer}.",
        ),
        _facts(
            "opposite", "Information seeking", lexicon.OPPOSITES,
            ("What is the opposite of {list}?", "Give the opposite of {list}.",
             "Which word is the opposite of {list}?"),
            "The opposite of {0} is {answer}.",
        ),
        _facts(
            "colour", "Information seeking", lexicon.COLOURS,
            ("What is the colour of {list}?", "Which colour has {list}?", "Tell me the colour of {list}."),
            "The colour of {0} is {answer}.",
        ),
        _facts(
            "translate", "Others", lexicon.SPANISH,
            ("Translate {list} into Spanish.", "How do you say {list} in Spanish?", "What is {list} in Spanish?"),
            "In Spanish {0} is {answer}.",
        ),
        Skill(
            "parrot", "Role playing", _keys(lexicon.NOUNS, 2, 6),
            {"en": ("Play a parrot and say {list}.", "You are a parrot. Repeat {list}.", "Be my parrot: {list}.")},
            {"en": "Squawk! {answer}!"},
            " ".join,
        ),
        Skill(
            "code", "Coding & Debugging", _number_list(2, 5),
            {"en": ("Write Python code that adds {list}.", "Print the sum of {list} in Python.",
                    "Code the sum of {list}.")},
            {"en": "print({answer})"},
            " + ".join,
        ),
        Skill(
            "plan", "Planning", _keys(lexicon.NOUNS, 2, 6),
            {"en": ("Plan my shopping: {list}.", "I must buy {list}. Make a list.", "Number my list of {list}.")},
            {"en": "{answer}"},
            lambda a: "\n".join(f"{i}. {item}" for i, item in enumerate(a, 1)),
        ),
        Skill(
            "story", "Creative writing", _keys(lexicon.NOUNS, 2, 4),
            {"en": ("Tell a story about {list}.", "Write a short tale of {list}.", "Make up a story with {list}.")},
            {"en": "{answer} met. They became friends. The end."},
            lambda a: "Once " + join(a, "en"),
        ),
    )
}  # fmt: skip


def draw_skill(rng: Random, names: tuple[str, ...] = tuple(SKILLS)) -> Skill:
    """One of the named skills, by weight."""
    return rng.choices([SKILLS[name] for name in names], [SKILLS[name].weight for name in names])[0]
