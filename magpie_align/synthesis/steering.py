"""The system text of the question steps of a chat of several rounds."""

STEERING = (
    "You are a helpful assistant in a conversation of several rounds. After each of your answers the user comes back with a "
    "new question or task that builds on what has been said so far, goes deeper or changes a detail."
)
