"""tools/requirements against small trees with one fault each, and against this tree."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUMS = '3 rows: 1 shown, 1 in part, 1 not built.\n'
HEAD = '| id | what it is | state | shown by |\n| --- | --- | --- | --- |\n'
SHOWN = '| T1 | a door | shown | `test_a.py::test_one`, `tests/tools/test_b.py::test_two` |\n'
PARTLY = '| T2 | a window | in part: no glass | `src/wire/c_test.c::three` |\n'
ABSENT = '| I1 | a roof | not built | |\n'
CLEAN = SUMS + HEAD + SHOWN + PARTLY + '\n' + HEAD + ABSENT
TESTS = {
    'tests/scenario/test_a.py': 'def test_one(fortress):\n    pass\n\n\ndef helper():\n    return test_of_nobody()\n',
    'tests/tools/test_b.py': 'def test_two():\n    pass\n',
    'src/wire/c_test.c': 'static void three(void **state)\n{\n}\n\nstatic void help(int i)\n{\n}\n',
}
# (what the finding says, what stands there, what stands there instead)
FAULTS = {
    'a test that is not there': ('there is no test test_a.py::test_nine', 'test_one`', 'test_nine`'),
    'a test that is only called': ('there is no test test_a.py::test_of_nobody', 'test_one`', 'test_of_nobody`'),
    'a file that is not there': ('there is no test test_z.py::test_one', 'test_a.py', 'test_z.py'),
    'a helper of a test program': ('c_test.c::help', '::three', '::help'),
    'an id twice': ('T1 is there already', '| T2 |', '| T1 |'),
    'an id that is left out': ('I2 without I1', '| I1 |', '| I2 |'),
    'no test': ('T2 has no test', '`src/wire/c_test.c::three`', ''),
    'a test of what is not built': ('I1 is not built, and has a test', 'not built | |', 'not built | `test_a.py::test_one` |'),
    'a test twice': ('T1 names test_a.py::test_one twice', '`tests/tools/test_b.py::test_two`', '`test_a.py::test_one`'),
    'in part of nothing': ('the state is', 'in part: no glass', 'in part: '),
    'a reason in a file that is not there': ('T2: there is no src/wire/d_test.c', 'no glass', 'no glass (`src/wire/d_test.c`)'),
    'another state': ('the state is', '| shown |', '| nearly |'),
    'too many words': ('one to 8 words', 'a door', 'a door that has many more words than eight'),
    'no words': ('one to 8 words', 'a door', ''),
    'prose among tests': ('and nothing else', 'test_two`', 'test_two` and more'),
    'a column too many': ('5 columns', 'a door |', 'a door | of wood |'),
    'sums of before': ('3 rows: 1 shown, 1 in part, 1 not built.', SUMS, '3 rows: 2 shown, 0 in part, 1 not built.\n'),
    'no sums': ('one line tells the sums', SUMS, ''),
}


@pytest.fixture
def told(tmp_path):
    def run(page):
        for name, text in {**TESTS, **({'docs/REQUIREMENTS.md': page} if page else {})}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / 'tools').mkdir()
        shutil.copy(ROOT / 'tools/requirements', tmp_path / 'tools/requirements')
        return subprocess.run([tmp_path / 'tools/requirements'], capture_output=True, text=True, check=False)
    return run


def test_this_tree_keeps_its_page():
    run = subprocess.run([ROOT / 'tools/requirements'], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, '')


def test_a_clean_page(told):
    run = told(CLEAN)
    assert (run.returncode, run.stdout + run.stderr) == (0, '')


@pytest.mark.parametrize('what,old,new', FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found(told, what, old, new):
    assert old in CLEAN
    run = told(CLEAN.replace(old, new, 1))
    assert run.returncode == 1 and run.stderr == ''
    assert [line for line in run.stdout.splitlines() if line.startswith('docs/REQUIREMENTS.md:') and what in line], run.stdout


def test_no_page(told):
    run = told(None)
    assert run.returncode == 1 and 'is not there' in run.stdout


def test_check_asks_it(tmp_path):
    """tools/check has its findings among its own."""
    (tmp_path / 'tools').mkdir()
    for name in ('check', 'requirements'):
        shutil.copy(ROOT / 'tools' / name, tmp_path / 'tools' / name)
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs/REQUIREMENTS.md').write_text(CLEAN)
    subprocess.run(['git', 'init', '-q', str(tmp_path)], check=True)
    run = subprocess.run([tmp_path / 'tools/check', '--quick'], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and 'requirement: T1: there is no test test_a.py::test_one' in run.stdout, run.stdout + run.stderr
