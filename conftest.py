"""For all tests: none of them reads or writes the label cache of whoever runs them."""

import os
import tempfile

# Before any test module starts a run of its own, at the latest when fixtures of a module do; removed at the end.
_folder = tempfile.TemporaryDirectory(prefix="golfbench-tests-")
os.environ["GOLFBENCH_CACHE"] = os.path.join(_folder.name, "labels.sqlite")
os.environ["GOLFBENCH_CACHE_POLICY"] = "off"
