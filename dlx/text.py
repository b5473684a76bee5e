"""Text of others, such as names, values and tracebacks: shown, never obeyed."""


def clean(text: object) -> str:
    """Text without control characters, so that no name can move the cursor or change colours."""
    return "".join(c if c.isprintable() else " " for c in str(text))
