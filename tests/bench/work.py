"""One piece of work in a process of its own: `python tests/bench/work.py NAME '{"argument": "of the function"}'`.

NAME is a function in ours.py or peers.py. The last line that is printed is JSON: `seconds`; `count`, where these are
for a number of pictures; `memory_mb`, the most memory that this process held (`ru_maxrss`); what else was found.
"""
import json
import resource
import sys

UNUSED = 'tensorflow', 'jax', 'keras' # TensorBoard would import them


def main(name, args):
    if not name.startswith('keras'):
        sys.modules.update(dict.fromkeys(UNUSED))
    import ours
    import peers
    found = getattr(ours, name, None) or getattr(peers, name)
    result = found(**json.loads(args))
    unit = 1 if sys.platform == 'darwin' else 1024
    result['memory_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*unit/1e6
    result['imgcourse'] = getattr(sys.modules.get('imgcourse'), '__file__', None)
    print(json.dumps(result))


if __name__ == '__main__':
    main(*sys.argv[1:])
