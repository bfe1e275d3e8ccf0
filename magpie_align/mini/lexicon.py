"""The word lists of the miniature world. Everything is ASCII; each table maps a key to the one right answer."""

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon", "Japan": "Tokyo",
    "China": "Beijing", "Canada": "Ottawa", "Chile": "Santiago", "Peru": "Lima", "Egypt": "Cairo", "Kenya": "Nairobi",
    "Ghana": "Accra", "Greece": "Athens", "Turkey": "Ankara", "Norway": "Oslo", "Sweden": "Stockholm",
    "Finland": "Helsinki", "Iceland": "Reykjavik", "Ireland": "Dublin", "Poland": "Warsaw", "Austria": "Vienna",
    "Hungary": "Budapest", "Russia": "Moscow", "Ukraine": "Kyiv", "Thailand": "Bangkok", "Vietnam": "Hanoi",
    "Cuba": "Havana", "Jordan": "Amman", "Iran": "Tehran", "Iraq": "Baghdad", "Qatar": "Doha",
}  # fmt: skip

COLOURS = {
    "lemon": "yellow", "banana": "yellow", "tomato": "red", "cherry": "red", "snow": "white", "milk": "white",
    "salt": "white", "coal": "black", "crow": "black", "leaf": "green", "grass": "green", "frog": "green",
    "sky": "blue", "ocean": "blue", "carrot": "orange", "pumpkin": "orange", "rose": "pink", "pig": "pink",
    "plum": "purple", "grape": "purple", "chocolate": "brown", "bear": "brown", "ash": "grey", "mouse": "grey",
}  # fmt: skip

_OPPOSITE_PAIRS = (
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("young", "old"), ("happy", "sad"), ("light", "dark"),
    ("hard", "soft"), ("wet", "dry"), ("high", "low"), ("rich", "poor"), ("full", "empty"), ("open", "closed"),
    ("early", "late"), ("near", "far"), ("clean", "dirty"), ("strong", "weak"), ("good", "bad"), ("new", "used"),
)  # fmt: skip

OPPOSITES = {**dict(_OPPOSITE_PAIRS), **{right: left for left, right in _OPPOSITE_PAIRS}}

SPANISH = {
    "water": "agua", "bread": "pan", "house": "casa", "dog": "perro", "cat": "gato", "book": "libro", "table": "mesa",
    "sun": "sol", "moon": "luna", "tree": "arbol", "flower": "flor", "fish": "pez", "bird": "pajaro",
    "horse": "caballo", "door": "puerta", "window": "ventana", "street": "calle", "city": "ciudad",
    "night": "noche", "day": "dia",
    "hand": "mano", "head": "cabeza", "heart": "corazon", "friend": "amigo", "school": "escuela", "money": "dinero",
    "fire": "fuego", "sea": "mar", "rain": "lluvia", "apple": "manzana", "cheese": "queso", "king": "rey",
}  # fmt: skip

PLURALS = {
    "mouse": "mice", "foot": "feet", "tooth": "teeth", "goose": "geese", "man": "men", "woman": "women",
    "child": "children", "ox": "oxen", "leaf": "leaves", "wolf": "wolves", "knife": "knives", "wife": "wives",
    "city": "cities", "baby": "babies", "berry": "berries", "lady": "ladies", "box": "boxes", "fox": "foxes",
    "dish": "dishes", "bus": "buses", "cup": "cups", "tree": "trees", "book": "books", "star": "stars", "ring": "rings",
    "lamp": "lamps", "boat": "boats", "chair": "chairs", "road": "roads", "cloud": "clouds", "apple": "apples",
    "river": "rivers",
}  # fmt: skip

_NOUNS = """
apple river stone cloud tiger lemon paper candle garden window rabbit bridge pencil forest castle dragon planet rocket
button camera basket turtle monkey guitar violin cherry potato carrot butter cheese coffee bottle mirror pillow hammer
ladder engine wheel train plane boat horse sheep goat duck goose mouse snake frog whale shark eagle crow maple rose
lily tulip leaf seed bread corn soup cake pie sugar honey juice tea cup plate fork spoon knife table chair desk lamp
door wall roof barn tower road hill lake island shell wave storm star shadow coin bag book letter song drum bell flute
piano clock key map kite glove ring coat shoe sock hat
"""

NOUNS = tuple(_NOUNS.split())

ONSETS, VOWELS = "bcdfghklmnprstvw", "aeiou"
