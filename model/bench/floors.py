"""Every method of a run, by name: the floors, the networks, and what longwatch makes of them."""

from longwatch.model.bench.counting import STIDE_ORDER, count_vector, first_pair, unseen_event, unseen_ngram
from longwatch.model.bench.effort import Effort
from longwatch.model.bench.method import Counting, Method
from longwatch.model.bench.neighbours import IsolationForest, Neighbours
from longwatch.model.bench.surprise_files import SurpriseFiles
from longwatch.model.bench.witten_bell import witten_bell, witten_bell_peak

COUNTING = (
    Counting("unseen event", unseen_event),
    Counting("first pair", first_pair, timed_only=True),
    Counting("unseen 2-gram", unseen_ngram(2)),
    Counting("STIDE 6-gram", unseen_ngram(STIDE_ORDER)),
    Counting("Witten-Bell", witten_bell),
    Counting("Witten-Bell peak", witten_bell_peak),
    Counting("count vector", count_vector),
)
FLOOR_NAMES = (*(method.name for method in COUNTING), "KNN", "isolation forest", "LSTM")


def all_methods(effort: Effort, networks: bool = True, surprise: SurpriseFiles | None = None) -> list[Method]:
    """Floors first, networks last; `networks` off trains nothing, `surprise` is of a training that was done before."""
    cheap: list[Method] = [*COUNTING, Neighbours(), IsolationForest()]
    if not networks and surprise is None:
        return cheap
    from longwatch.model.bench.lstm import Lstm
    from longwatch.model.bench.network import Network, Shipped, Trainer

    trainer = Trainer(effort, surprise)
    lstm: list[Method] = [Lstm(effort)] if networks else []
    return [*cheap, *lstm, Network(trainer), Shipped(trainer)]
