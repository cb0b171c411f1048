__version__ = "0.1.0"

import os as _os
import sys as _sys

# Threads of torch that wait for one another turn in circles, by default for milliseconds, and take the processor from
# whoever they wait for. libgomp reads this when torch is loaded. (See "Neighbors" in the notebook 50.)
if 'torch' not in _sys.modules and not {'GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'} & _os.environ.keys():
    _os.environ['GOMP_SPINCOUNT'] = '3000'
