import sys; sys.path.insert(0,'/work/main/tests')
import difflib
from test_docs import *
def test_it(pages):
    for name in ('04_fine_tuning.ipynb','06_keras_resnet.ipynb','08_own_classes.ipynb','53_sketches.ipynb','58_export.ipynb'):
        written=[source(c) for c in all_cells(name)[1:] if c['cell_type']=='markdown']
        cells=[plain(source(c)) for c in pages[name]['cells']]
        page='\n'.join(cells)
        for t in written:
            if plain(t) not in page:
                best=max(cells,key=lambda c: difflib.SequenceMatcher(None,plain(t)[:400],c[:400]).ratio())
                for l in difflib.unified_diff(plain(t).splitlines(),best.splitlines(),lineterm='',n=0): print(name,l[:600])
