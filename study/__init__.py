"""What the bounds imply, measured: see study/protocol.md and docs/study.md."""
