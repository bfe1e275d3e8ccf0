"""The label sets of the tags, lowest first where they are ordered (paper, section 3; table of PAPER facts: official names)."""

QUALITY = ("very poor", "poor", "average", "good", "excellent")
DIFFICULTY = ("very easy", "easy", "medium", "hard", "very hard")
CATEGORY = (
    "Information seeking",
    "Reasoning",
    "Planning",
    "Editing",
    "Coding & Debugging",
    "Math",
    "Role playing",
    "Data analysis",
    "Creative writing",
    "Advice seeking",
    "Brainstorming",
    "Others",
)

LABELS: dict[str, tuple[str, ...]] = {"input_quality": QUALITY, "difficulty": DIFFICULTY, "task_category": CATEGORY}
"""Column -> its labels."""

ORDERED = ("input_quality", "difficulty")
"""The columns whose labels can be compared with < and >."""
