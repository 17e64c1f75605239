"""tools/conformance against small trees with one fault each, and against this tree."""
import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARK = 'SP' + 'EC: '  # in pieces, or the tool would read this file

IDS = {'both': ['1.0.0-1'], 'versions': {
    '3.1.1': {'MQTT3-1.0.0-1': '', 'MQTT3-1.0.0-2': 'a duty of clients'},
    '5.0': {'MQTT5-1.0.0-1': '', 'MQTT5-1.0.0-2': 'not there yet: wonders', 'MQTT5-1.0.0-3': ''}}}
A_TEST = f'''static const int cases[] = {{1, 2}}; /* {MARK}MQTT-1.0.0-1 */

static void check(int i)
{{
    assert_int_equal(i, i);
}}

static void both_versions(void **state)
{{
    (void)state; /* {MARK}MQTT5-1.0.0-3: why,
                    at length */
}}
'''
CLEAN = {'src/wire/a_test.c': A_TEST,
         'src/wire/a.c': f'int a(int b)\n{{\n    return b; /* {MARK}MQTT5-1.0.0-3, RFC7252 4.2 */\n}}\n'}


@pytest.fixture
def tree(tmp_path):
    for name, text in {**CLEAN, 'tests/vectors/mqtt-statement-ids.json': json.dumps(IDS), 'docs/x': ''}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / 'tools').mkdir()
    shutil.copy(ROOT / 'tools/conformance', tmp_path / 'tools/conformance')
    subprocess.run(['git', 'init', '-q', str(tmp_path)], check=True)
    return tmp_path


def run(tree, *arguments):
    return subprocess.run([tree / 'tools/conformance', *arguments], capture_output=True, text=True, check=False)


def add(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else '') + text)


def test_this_tree_has_no_gap():
    found = run(ROOT, '--check')
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_clean_tree(tree):
    assert run(tree).returncode == 0
    page = (tree / 'docs/CONFORMANCE.md').read_text()
    assert '| MQTT3-1.0.0-1 | `src/wire/a_test.c: both_versions` |  |' in page
    assert '| MQTT5-1.0.0-3 | `src/wire/a_test.c: both_versions` | `src/wire/a.c: a` |' in page
    assert '| MQTT3-1.0.0-2 | a duty of clients |  |' in page
    assert '| wonders | MQTT5-1.0.0-2 |' in page
    assert '| 5.0 | 3 | 2 | 0 | 1 |' in page
    assert run(tree, '--check').returncode == 0


FAULTS = {
    'a gap': ('src/wire/a_test.c', None, 'MQTT5-1.0.0-3: no test names it'),
    'an id in no list': ('src/wire/b.c', f'/* {MARK}MQTT5-9.9.9-9 */\n', 'src/wire/b.c:1: MQTT5-9.9.9-9 is in no list'),
    'an id without its version': ('src/wire/b.c', f'/* {MARK}MQTT-1.0.0-3 */\n', 'say MQTT3-1.0.0-3 or MQTT5-1.0.0-3'),
    'a reason that is untrue': ('tests/scenario/test_x.py', f'# {MARK}MQTT3-1.0.0-2\ndef test_a():\n    pass\n', 'test_x.py: test_a names it'),
    'a feature that is there': ('tests/scenario/conformance_x.py', f"@case('{MARK}MQTT5-1.0.0-2')\ndef a(t):\n    pass\n", 'conformance_x.py: a names it'),
    'a mark on the second line': ('src/wire/b.c', f'/* {MARK}MQTT5-1.0.0-3,\n * MQTT5-8.8.8-8 */\n', 'MQTT5-8.8.8-8 is in no list'),
}


@pytest.mark.parametrize('name,text,what', FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found(tree, name, text, what):
    if text is None:
        (tree / name).write_text(A_TEST.replace('MQTT5-1.0.0-3', 'RFC7252 4.2'))
    else:
        add(tree, name, text)
    found = run(tree)
    assert found.returncode == 1 and what in found.stdout, found.stdout + found.stderr


def test_an_old_page_is_found(tree):
    run(tree)
    add(tree, 'src/wire/b_test.c', A_TEST)
    found = run(tree, '--check')
    assert found.returncode == 1 and 'docs/CONFORMANCE.md is old' in found.stdout


def test_a_helper_proves_nothing(tree):
    (tree / 'src/wire/a_test.c').write_text(A_TEST.replace('MQTT5-1.0.0-3', 'RFC7252 4.2'))
    add(tree, 'tests/scenario/harness/help.py', f'# {MARK}MQTT5-1.0.0-3\ndef help():\n    pass\n')
    assert 'MQTT5-1.0.0-3: no test names it' in run(tree).stdout
