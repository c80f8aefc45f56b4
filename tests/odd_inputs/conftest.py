import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # `make.py` also runs as a script, which imports what lies beside it
