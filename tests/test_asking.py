"Asking from the command line: tables, JSON, ONNX, pages; into pipes and without a terminal."
import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from imgcourse.all import ConvLearner, ImageClassifierData, lite0, load_learner, set_seed, tfms_from_model
from imgcourse.cli import main

IMGCOURSE = Path(sys.executable).parent/'imgcourse'


@pytest.fixture(scope='module')
def model(same_few, tmp_path_factory):
    set_seed(0)
    data = ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms_from_model(lite0, 64))
    learn = ConvLearner.pretrained(lite0, data, precompute=True).silent()
    learn.fit(.01, 2)
    return learn.export(tmp_path_factory.mktemp('asked')/'model.safetensors')


def test_a_table_of_answers(model, few, tmp_path, capsys):
    "Of a folder: each picture with two classes; what cannot be read has a line, too."
    (few/'valid'/'cats'/'broken.jpg').write_bytes(b'\xff\xd8nothing')
    assert main(['predict', str(model), str(few/'valid'), '--csv', str(tmp_path/'out.csv')]) == 2
    rows = list(csv.DictReader(open(tmp_path/'out.csv', newline='', encoding='utf-8')))
    assert '13 pictures, 1 of them could not be read' in capsys.readouterr().out
    net = load_learner(model)
    assert [*rows[0]] == ['file', 'class', 'probability', 'second_class', 'second_probability', 'fault']
    for row in rows:
        if 'broken' in row['file']:
            assert row['class'] == '' and 'broken.jpg' in row['fault']
            continue
        probs = np.exp(net.predict([row['file']])[0])
        assert row['class'] == net.classes[probs.argmax()] and row['fault'] == ''
        assert float(row['probability']) == pytest.approx(probs.max(), abs=1e-4)
        assert float(row['probability']) + float(row['second_probability']) == pytest.approx(1, abs=1e-4)
    assert main(['predict', str(model), str(few/'valid'/'dogs'), '--csv', str(tmp_path/'out.csv')]) == 0


def test_answers_as_json(model, few, capsys):
    "All that goes to stdout is JSON; names and probabilities as from Python."
    (few/'valid'/'cats'/'broken.jpg').write_bytes(b'\xff\xd8nothing')
    assert main(['predict', str(model), str(few/'valid'), '--json', '--top', '1']) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert len(found) == 13 and 'broken.jpg' in err
    assert [set(row) - {'file'} for row in found].count({'fault'}) == 1
    assert all(len(row['classes']) == 1 for row in found if 'classes' in row)


def test_onnx_from_the_command_line(model, few, tmp_path, capsys):
    assert main(['export', str(model), '--onnx', str(tmp_path/'net.onnx')]) == 0
    session = onnxruntime.InferenceSession(tmp_path/'net.onnx', providers=['CPUExecutionProvider'])
    assert json.loads(session.get_modelmeta().custom_metadata_map['classes']) == ['cats', 'dogs']
    assert 'input pixels' in capsys.readouterr().out


def run(*argv, **options):
    return subprocess.run([IMGCOURSE, *map(str, argv)], capture_output=True, timeout=120, **options)


@pytest.mark.e2e
def test_into_a_pipe_and_without_a_terminal(model, few):
    "Nothing is asked, nothing is drawn: plain lines, whatever becomes of stdout."
    p = run('predict', model, few/'valid', '--json', stdin=subprocess.DEVNULL)
    assert p.returncode == 0 and len(json.loads(p.stdout)) == 12 and b'\r' not in p.stderr
    p = run('check', few, stdin=subprocess.DEVNULL, env={**os.environ, 'TERM': 'dumb'})
    assert p.returncode in (0, 1) and b'labels are in doubt' in p.stdout and b'\r' not in p.stdout + p.stderr
    training = 'train', few, '--size', '32', '--epochs', '1'
    for argv in (('predict', model, few/'valid', '--json'), ('check', few), training):
        shell = ' '.join(f"'{a}'" for a in (IMGCOURSE, *argv)) + ' | head -c 1'
        p = subprocess.run(['bash', '-c', shell], capture_output=True, timeout=120, cwd=few.parent)
        assert b'Traceback' not in p.stderr, argv


@pytest.mark.e2e
def test_serve_until_ctrl_c(model):
    "A page; the address is said; Ctrl-C ends it, without a traceback."
    command = [IMGCOURSE, 'serve', str(model), '--no-browser', '--port', '8421']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        address = process.stdout.readline().split()[4].rstrip(';')
        assert b'cats, dogs' in urllib.request.urlopen(address, timeout=30).read()
        time.sleep(.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode in (0, 130) and 'Traceback' not in err
    finally:
        process.kill()
