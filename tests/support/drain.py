"""Drain3 with the masks of its own example configuration: the peer in benchmarks."""

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

_BEFORE, _AFTER = r"((?<=[^A-Za-z0-9])|^)", r"((?=[^A-Za-z0-9])|$)"
_MASKS = (
    ("ID", r"(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))"),
    ("IP", r"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})"),
    ("SEQ", r"([0-9a-f]{6,} ?){3,}"),
    ("SEQ", r"([0-9A-F]{4} ?){4,}"),
    ("HEX", r"(0x[a-f0-9A-F]+)"),
    ("NUM", r"([\-\+]?\d+)"),
)


class Drain:
    """One miner; `learn` gives cluster numbers and `match` those of messages like the ones learned."""

    def __init__(self) -> None:
        config = TemplateMinerConfig()
        config.masking_instructions = [MaskingInstruction(_BEFORE + mask + _AFTER, name) for name, mask in _MASKS]
        self._miner = TemplateMiner(config=config)

    def learn(self, messages: list[str]) -> list[int]:
        """Number of the cluster that each message joins or begins, in order."""
        return [self._miner.add_log_message(message)["cluster_id"] for message in messages]

    def match(self, messages: list[str]) -> list[int]:
        """Number of each message's cluster, 0 where none fits; nothing is learned."""
        found = map(self._miner.match, messages)
        return [0 if cluster is None else cluster.cluster_id for cluster in found]
