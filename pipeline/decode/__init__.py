"""Records to events, pure and in columns: text with a header, JSON lines, OpenTelemetry, syslog."""

from longwatch.pipeline.decode.decoder import Decoded, Decoder, decoder_for

__all__ = ["Decoded", "Decoder", "decoder_for"]
