"""Where things lie, for tests wherever they lie themselves."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository
SHARED_DATA = ROOT.parent / "shared" / "data"  # real data, where there is any beside the repository
