"""A rough guess of a text's language from its script and its commonest short words; for the probe, not for data sets."""

import re

SCRIPTS = {
    "ja": "[\u3040-\u30ff]",
    "ko": "[\uac00-\ud7af\u1100-\u11ff]",
    "zh": "[\u3400-\u9fff]",
    "ru": "[\u0400-\u04ff]",
    "ar": "[\u0600-\u06ff]",
    "hi": "[\u0900-\u097f]",
    "el": "[\u0370-\u03ff]",
    "he": "[\u0590-\u05ff]",
    "th": "[\u0e00-\u0e7f]",
}
"""Language -> a character of its script, the first that makes up a tenth of the letters counts; Japanese before Chinese."""

WORDS = {
    "en": "the of and to a in is what how for i you are can write with that an",
    "de": "der die das und ist ein eine wie was ich zu mit für nicht auf den schreibe bitte",
    "fr": "le la les des et est un une que comment pour dans je vous du écris quel quelle",
    "es": "el los las y es un una qué cómo para por en escribe cuál con del puedes",
    "pt": "o os as e é um uma que como para em não escreva qual com do da você",
    "it": "il lo gli che è un una come per di non scrivi qual con del della puoi sono",
    "tr": "ve bir bu için nasıl ne ile mi nedir yaz olan daha da hakkında",
}
_WORDS = {language: frozenset(words.split()) for language, words in WORDS.items()}


def guess_language(text: str) -> str:
    """A two-letter code, or `?` where nothing speaks for one."""
    letters = sum(character.isalpha() for character in text)
    for language, script in SCRIPTS.items():
        if letters and len(re.findall(script, text)) * 10 >= letters:
            return language
    words = re.findall(r"[^\W\d_]+", text.lower())
    hits = {language: sum(word in known for word in words) for language, known in _WORDS.items()}
    best = max(hits, key=lambda language: hits[language])
    return best if hits[best] else "?"
