"""Files of nets that somebody else has written: descriptions made up, saved files damaged, other kinds of files. None
runs code, opens another file or reaches the network; what is loaded gives the numbers that were saved; nothing takes
more memory than a net of that size does."""
import copy
import json
import math
import os
import pickle
import random
import sys
import zipfile
from pathlib import Path
import numpy as np
from trials import Silent, Trial, refused

MOST = 600 # megabytes
TOUCHED = []


def watch():
    "Notes what a net's file must not lead to."
    if 'watching models' in os.environ:
        return
    os.environ['watching models'] = 'yes'
    harmless = (sys.prefix, sys.base_prefix, '/proc', '/sys', '/dev', str(Path(__file__).parents[2]),
                os.environ['IMGCOURSE_CACHE'])
    harmful = ('socket.connect', 'socket.getaddrinfo', 'subprocess.Popen', 'os.system', 'os.exec', 'pickle.find_class')
    def hook(event, args):
        if event in harmful:
            TOUCHED.append((event, str(args)[:200]))
        file = args[0] if event == 'open' and isinstance(args[0], str) else ''
        if file.startswith('/') and not file.startswith(harmless):
            TOUCHED.append((event, file))
    sys.addaudithook(hook)


def saved_nets(folder):
    "Files of three kinds of nets, small, and what they say about a picture."
    import torch
    from imgcourse.all import ConvLearner, ImageClassifierData, SimpleNet, set_seed, tfms_from_model
    set_seed(1)
    x = np.random.RandomState(0).randint(0, 256, (8, 32, 32, 3), np.uint8)
    y = np.arange(8) % 2
    data = ImageClassifierData.from_arrays(folder, (x, y), (x, y), 4, tfms_from_model('test_resnet', 32))
    learners = {
        'conv': ConvLearner.pretrained('test_resnet', data, weights=False),
        'keras': ConvLearner.from_model(SimpleNet((32, 32, 3), [20], 2), data),
    }
    files = {}
    for name, learn in learners.items():
        files[name] = learn.export(Path(folder)/f'{name}.safetensors')
    torch.manual_seed(0)
    return files


PICTURE = np.random.RandomState(3).randint(0, 256, (40, 48, 3), np.uint8)
SAVED = {}


def saved(folder):
    "The files, their content, and what they say; made once in each process."
    if folder not in SAVED:
        from imgcourse.export import load_learner
        from imgcourse.features import read_whole
        own = Path(folder)/f'of {os.getpid()}'
        SAVED[folder] = {name: (file, *read_whole(file), load_learner(file).predict([PICTURE]))
                         for name, file in saved_nets(own).items()}
    watch()
    TOUCHED.clear()
    return SAVED[folder]


def check_untouched(file):
    other = [t for t in TOUCHED if str(file) not in t[1]]
    if other:
        raise Silent(f'touched: {other[:3]}')


def loaded(file, want=None, must=None):
    "Load it and ask it."
    from imgcourse.export import load_learner
    from imgcourse.features import WeightsError
    try:
        net = load_learner(file)
        got = net.predict([PICTURE])
        what = 'right'
    except WeightsError as e:
        what = refused(e, file)
    except ValueError as e: # the net is whole, and says which pictures it takes
        what = refused(e, '40×48')
    check_untouched(file)
    if must and what != must:
        raise Silent(f'{what} instead of {must}')
    if what == 'right' and not np.isfinite(got).all():
        raise Silent('it says what is no number')
    if what == 'right' and want is not None and not np.allclose(got, want, atol=1e-5):
        raise Silent('other values')
    if what == 'right' and not np.array_equal(got, net.predict([PICTURE])):
        raise Silent('it says something else each time')
    return what


# ---- descriptions that somebody made up
def rewritten(folder, name, kind, change):
    "A whole file, checksum and all, whose text was changed."
    from imgcourse.features import write_whole
    _, tensors, about, want = saved(folder)[kind]
    tensors, about = dict(tensors), copy.deepcopy(about)
    must = change(about, tensors)
    file = Path(folder)/f'{name} {kind} {os.getpid()}.safetensors'
    write_whole(tensors, file, about)
    TOUCHED.clear()
    return loaded(file, want if must == 'the same' else None, {'the same': 'right'}.get(must, must))


def put(path, value, must='refused'):
    "A change: what stands at a path in the text."
    def change(about, tensors):
        at = about
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        return must
    return change


def tensor(name, make):
    def change(about, tensors):
        key = next(k for k in tensors if name in k)
        tensors[key] = make(tensors[key])
        return 'refused'
    return change


def crafted(kind):
    "Changes of the text and of the numbers, by name."
    import torch
    nan, inf = math.nan, math.inf
    t, n = ('transform',), ('net',)
    means = [nan]*3, [inf]*3, [1], [0.5]*4, 'abc', None, [[1]]*3, [True]*3
    changes = {f'mean {v}': put((*t, 'mean'), v) for v in means}
    changes |= {f'std {v}': put((*t, 'std'), v) for v in ([0]*3, [nan]*3, [-1]*3, [], 7, ['a']*3)}
    changes |= {f'side {v}': put((*t, 'side'), v) for v in (0, -1, 10**9, 1.5, '32', None, True, [32])}
    changes |= {f'size {v}': put((*t, 'size'), v) for v in (0, -5, 10**9, 2.5, '32', [1], 10**5)}
    changes |= {f'squish {v}': put((*t, 'squish'), v) for v in ('yes', 1, [], {})}
    changes |= {f'interpolation {v}': put((*t, 'interpolation'), v) for v in ('random', 3, None, ['bilinear'])}
    changes |= {f'step {k}': put((*t, k), v) for k, v in (('steps', ['RandomErasing']), ('aug', 1), ('__class__', 'x'))}
    shapes = [10**6]*2, [4096]*2, [0, 32], [32], [-1, -1], 'ab', [32.5, 32], [[1]]*2
    changes |= {f'shape {v}': put((*n, 'shape'), v) for v in shapes}
    changes |= {f'classes {str(v)[:20]}': put(('classes',), v)
                for v in ([], ['a'], ['a', 'b', 'c'], 'ab', [1, 2], None, {'a': 1}, [['a'], ['b']], ['a', 'a'],
                          ['a']*10**5)}
    changes |= {f'kind {v}': put((*n, 'kind'), v) for v in ('os', 'eval', None, 5, ['timm'], 'pickle', '__import__')}
    changes |= {f'format {v}': put(('imgcourse',), v) for v in (0, 1, 3, '2', None, [2], 10**30)}
    changes |= {'no net': put(('net',), {}), 'net is a list': put(('net',), []), 'net is text': put(('net',), 'resnet'),
                'no transform': put(('transform',), {}), 'transform is a list': put(('transform',), [1]),
                'a note more': put(('note',), 'x'*1000, 'the same'), 'deep': put(('note',), nested(400), 'the same')}
    changes |= {'weight nan': tensor('weight', lambda v: v*nan), 'weight inf': tensor('weight', lambda v: v + inf),
                'weight doubled in shape': tensor('weight', lambda v: torch.cat([v, v])),
                'weight as text': tensor('weight', lambda v: v.to(torch.int8)),
                'variance below 0': tensor('running_var' if kind == 'conv' else 'weight', lambda v: v*0 - nan)}
    if kind == 'conv':
        args, head = (*n, 'model_args'), (*n, 'head')
        changes |= {f'arch {v}': put((*n, 'arch'), v) for v in (
            'nothing', '', None, 5, 'hf_hub:someone/net', 'hf-hub:someone/net', 'local-dir:/etc', '/etc/passwd', '../x',
            'resnet18', 'vit_giant_patch14_224', 'eva02_enormous_patch14_clip_224', ['a'], 'test_resnet.x')}
        changes |= {f'args {str(v)[:60]}': put(args, v) for v in (
            {'pretrained': True}, {'checkpoint_path': '/etc/passwd'}, {'pretrained_cfg': {'file': '/etc/passwd'}},
            {'pretrained_cfg_overlay': {'url': 'http://127.0.0.1:9/x'}}, {'cache_dir': '/tmp/x'},
            {'num_classes': 10**9},
            {'in_chans': 10**9}, {'in_chans': 0}, {'layers': [10**6]*4}, {'channels': [10**6]*4}, {'block': 'eval'},
            {'stem_width': 10**9}, {'norm_layer': 'os.system'}, {'act_layer': '__import__("os")'},
            {'features_only': True}, {'global_pool': '/etc/passwd'}, {'cardinality': 0}, {'depth': 10**7}, [], 'x',
            5)}
        changes |= {f'head {str(v)[:60]}': put(head, v) for v in (
            ['eval', '1'], ['make_head'], ['make_head', 10**6, 2], ['make_head', 128, 10**9], ['os.system', 'id'], [],
            None,
            ['make_head', 128, 2, [30_000]*2, [0.5]*3], ['make_head', 128, 2, [1]*300_000, [0.5]*300_001],
            [['make_head']],
            ['make_head', 128, 2, [512], [nan, nan]], ['make_head', 128, 2, [512], [2, 2]], ['make_head', -1, 2])}
        def many_layers(about, tensors):
            about['net'] |= {'arch': 'test_vit', 'model_args': {'depth': 500_000_000}}
            return 'refused'
        def large_window(about, tensors):
            about['net'] |= {'arch': 'swin_tiny_patch4_window7_224', 'model_args': {
                'img_size': 320, 'window_size': 80, 'embed_dim': 4, 'depths': [1], 'num_heads': [1]}}
            tensors['more'] = torch.zeros(8*80**2 + 20_000)
            return 'refused'
        changes |= {'half a billion layers': many_layers, 'a constant that grows with the fourth power': large_window}
    else:
        large = {'kind': 'KerasNet', 'name': 'ConvNet2', 'args': [[40_000, 40_000, 3], [4, 8], 2], 'kwargs': {}}
        wide = large | {'args': [[1000, 1000, 3], [200, 1], 2]}
        changes |= {'a picture of 5 GB goes through': put(n, large | {'shape': [32, 32]}),
                    'a layer with 3 GB at once': put(n, wide | {'shape': [1000, 1000]}),
                    'a picture of 1 GB goes through': put(n, large | {'args': [[9000, 9000, 3], [4, 8], 2]})}
        changes |= {f'name {v}': put((*n, 'name'), v) for v in (
            'nothing', 'KerasNet', 'Sequential', 'os', None, '', ['SimpleNet'], 'ConvNet', '__init__', 'object')}
        changes |= {f'args {str(v)[:60]}': put((*n, 'args'), v) for v in (
            [[32, 32, 3], [30_000, 30_000], 2], [[32, 32, 3], [1]*300_000, 2], [[10**5, 10**5, 3], [20], 2], [], None,
            [[32, 32, 3], [20], 10**9], [[32, 32, 3], [0], 2], [[32, 32, 3], [-1], 2], [[32, 32, 3], 'ab', 2],
            ['a'],
            [[32, 32, 3], [20], 2, 'more'], [[nan, 32, 3], [20], 2], [[32, 32, 10**9], [20], 2], 'x', 5)}
        kwargs = {'self': 1}, {'in_shape': 1}, {'x': 'y'}, None, 'ab'
        changes |= {f'kwargs {v}': put((*n, 'kwargs'), v) for v in kwargs}
    return changes


def nested(n):
    x = []
    for _ in range(n):
        x = [x]
    return x


def craft(folder, kind, name):
    saved(folder)
    return rewritten(folder, name.replace('/', '_')[:80], kind, crafted(kind)[name])


def fuzz(folder, kind, examples, seed):
    "Any JSON at any place of the text."
    from hypothesis import HealthCheck, given, settings, strategies as st
    from hypothesis import seed as with_seed
    _, _, about, _ = saved(folder)[kind]
    places = list(paths(about))
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
                      st.sampled_from(['resnet18', 'SimpleNet', 'make_head', 10**9, -1, 'bicubic', '/etc/passwd']))
    def nested(of): return st.one_of(st.lists(of, max_size=4), st.dictionaries(st.text(max_size=8), of, max_size=4))
    anything = st.recursive(plain, nested, max_leaves=8)

    @with_seed(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(places), anything), min_size=1, max_size=3))
    def changed(changes):
        def change(about, tensors):
            for path, value in changes:
                at = about
                try:
                    for key in path[:-1]:
                        at = at[key]
                    at[path[-1]] = value
                except (TypeError, KeyError, IndexError): # an earlier change has taken the place away
                    pass
        rewritten(folder, f'fuzzed {seed}', kind, change)

    changed()
    return 'right'


def paths(x, at=()):
    "All places in a text."
    if at:
        yield at
    for key, value in x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ():
        yield from paths(value, (*at, key))


# ---- saved files, damaged
def mutant(folder, kind, seed):
    "Some bytes of a saved file changed, or a part of it gone; the checksum is as it was."
    file, *_, want = saved(folder)[kind]
    rng = random.Random(seed)
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 5))):
        i = rng.randrange(len(content) if rng.random() < .5 else min(2000, len(content)))
        how = rng.randrange(5)
        if how == 0:
            content[i] ^= 1 << rng.randrange(8)
        elif how == 1:
            content[i] = rng.randrange(256)
        elif how == 2:
            content[i:i + rng.choice((1, 8, 100))] = b''
        elif how == 3:
            content[i:i] = content[:rng.choice((1, 8, 100))]
        else:
            del content[max(i, 1):]
    path = Path(folder)/f'mutant {kind} {seed}.safetensors'
    path.write_bytes(content)
    TOUCHED.clear()
    try:
        return loaded(path, want)
    finally:
        path.unlink()


# ---- other files under this name
class Attack:
    def __reduce__(self): return os.system, ('touch /tmp/attacked',)


def other_file(folder, name):
    import torch
    file, tensors, _, _ = saved(folder)['conv']
    path = Path(folder)/f'{name} {os.getpid()}.safetensors'
    whole = file.read_bytes()
    n = int.from_bytes(whole[:8], 'little')
    header = json.loads(whole[8:8 + n])
    def headed(new, rest=whole[8 + n:]):
        text = new if isinstance(new, bytes) else json.dumps(new).encode()
        return len(text).to_bytes(8, 'little') + text + rest
    if name == 'pickle':
        path.write_bytes(pickle.dumps(Attack()))
    elif name == 'torch':
        torch.save({'x': Attack()}, path)
    elif name == 'zip':
        with zipfile.ZipFile(path, 'w') as z:
            z.writestr('data.pkl', pickle.dumps(Attack()))
    elif name == 'folder':
        path.mkdir(exist_ok=True)
    elif name == 'pipe':
        os.mkfifo(path)
    elif name == 'device':
        path.symlink_to('/dev/zero')
    elif name == 'without text':
        from safetensors.torch import save_file
        save_file(tensors, path)
    elif name == 'missing':
        pass
    else:
        first = next(k for k in header if k != '__metadata__')
        content = {
            'empty': b'', 'eight bytes': bytes(8), 'header of 2^63': (2**63).to_bytes(8, 'little') + b'{}',
            'header of 90 MB': (90_000_000).to_bytes(8, 'little') + b' '*90_000_000, 'text': b'this is no net',
            'header is a list': headed(b'[1, 2]'), 'header is no text': headed(b'\xff'*50),
            'header is deep': headed(b'['*100_000),
            'places overlap': headed(header | {first: header[first] | {'data_offsets': [0, 4]}}),
            'shape of 2^60': headed(header | {first: header[first] | {'shape': [2**60]}}),
            'kind of number': headed(header | {first: header[first] | {'dtype': 'F1024'}}),
            'without checksum': headed(header | {'__metadata__': {k: v for k, v in header['__metadata__'].items()
                                                                  if k != 'checksum'}}),
            'checksum of nothing': headed(header | {'__metadata__': {**header['__metadata__'], 'checksum': ''}}),
            'more at its end': whole + b'more',
        }
        path.write_bytes(content[name])
    TOUCHED.clear()
    what = loaded(path, must='refused')
    from imgcourse.features import WeightsError, create_net
    for load in (lambda: create_net('test_resnet', weights=path), lambda: create_net('test_resnet', weights=str(path))):
        try:
            load()
            raise Silent('taken as weights of a backbone')
        except WeightsError as e:
            refused(e, path)
    check_untouched(path)
    if os.path.exists('/tmp/attacked'):
        raise Silent('a program in it was run')
    return what


OTHERS = ('pickle', 'torch', 'zip', 'folder', 'pipe', 'device', 'without text', 'missing', 'empty', 'eight bytes',
          'header of 2^63', 'header of 90 MB', 'text', 'header is a list', 'header is no text', 'header is deep',
          'places overlap', 'shape of 2^60', 'kind of number', 'without checksum', 'checksum of nothing',
          'more at its end')


def make(folder, quick, rng):
    for kind in ('conv', 'keras'):
        names = list(crafted(kind))
        for name in rng.sample(names, 30) if quick else names:
            yield Trial(f'crafted {kind}: {name}', craft, (str(folder), kind, name), 20, MOST)
    for k in range(2 if quick else 8):
        args = str(folder), ('conv', 'keras')[k % 2], 20 if quick else 150, k
        yield Trial(f'fuzzed texts {k}', fuzz, args, 300, MOST)
    for name in OTHERS:
        yield Trial(f'another file: {name}', other_file, (str(folder), name), 20, MOST)
    for k in range(60 if quick else 800):
        yield Trial(f'mutant {k}', mutant, (str(folder), rng.choice(('conv', 'keras')), rng.randrange(10**9)), 20, MOST)
