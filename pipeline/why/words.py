"""The evidence of an event in words for a person."""

MEANING = {
    "unseen_template": "this line was never seen in training",
    "unseen_bigram": "never seen right after the line before it",
    "unseen_trigram": "never seen after the two lines before it",
    "unseen_occurrence": "more often in one window than ever in training",
    "unseen_counts": "the window as a whole holds other lines, or other numbers of them, than any in training",
    "odd_counts": "the window as a whole is more than 10 % off the nearest one in training",
    "strange_counts": "the window as a whole is more than 20 % off the nearest one in training",
}


def evidence_words(names: list[str]) -> str:
    """What the flags mean, or that none is set."""
    return (
        "; ".join(MEANING.get(name, name) for name in names) or "every line of it is known: its place is the surprise"
    )
