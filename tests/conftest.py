"""Keep the tests off the network and out of the user's caches; set before anything is imported."""

import atexit
import os
import shutil
import tempfile

_cache = tempfile.mkdtemp(prefix="kdna-zoo-tests-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
# The networks are tiny: a second thread gains nothing, and on shared cores it can cost much.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(HF_HOME=_cache, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
