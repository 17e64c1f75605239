"""tools/check finds what it says it finds: each rule meets a small tree with one fault planted, and a clean one."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CLEAN = {
    'src/base/a.h': '#ifndef BASE_A_H\n#define BASE_A_H\nint a(void);\n#endif\n',
    'src/base/a.c': '#include "base/a.h"\n\nint a(void)\n{\n    return 1;\n}\n',
    'src/base/meson.build': "base_sources = files('a.c')\n",
    'src/wire/w.h': '#ifndef WIRE_W_H\n#define WIRE_W_H\n#include "base/a.h"\n#endif\n',
    'docs/MAP.md': 'The life of `base/a.c`.\n',
}
LONG_BODY = ''.join('    call();\n' for _ in range(120))

# (rule, what the line of the finding contains, files that are added or replaced)
FAULTS = [
    ('layer', 'base/ must not include wire/', {'src/base/a.h': '#include "wire/x.h"\n', 'src/wire/x.h': '\n'}),
    ('include', 'write the path from src/', {'src/wire/w.h': '#include "w2.h"\n', 'src/wire/w2.h': '\n'}),
    ('private', 'belongs to its folder', {'src/service/one/x_private.h': '\n',
                                          'src/service/two/y.h': '#include "service/one/x_private.h"\n'}),
    ('cycle', '->', {'src/wire/w.h': '#include "wire/v.h"\n', 'src/wire/v.h': '#include "wire/w.h"\n'}),
    ('purity', '<pthread.h>', {'src/core/p.h': '#include <pthread.h>\n'}),
    ('library', '<openssl/ssl.h>', {'src/core/p.h': '#include <openssl/ssl.h>\n'}),
    ('banned', 'malloc', {'src/base/a.c': 'void *a(void)\n{\n    return malloc(1);\n}\n'}),
    ('banned', 'goto', {'src/base/a.c': 'int a(void)\n{\n    goto end;\nend:\n    return 1;\n}\n'}),
    ('banned', 'sprintf', {'src/base/a.c': 'void a(char *s)\n{\n    sprintf(s, "x");\n}\n'}),
    ('banned', 'fork', {'src/net/f.h': 'static inline int f(void)\n{\n    return fork();\n}\n'}),
    ('silent', 'does not print', {'src/core/p.h': 'static inline void p(void)\n{\n    printf("x");\n}\n'}),
    ('word', 'open end', {'src/base/a.h': '/* TO' 'DO */\n'}),
    ('word', 'switched off', {'src/base/a.h': '#if' ' 0\n#endif\n'}),
    ('path', 'outside the project', {'docs/page.md': 'see ../sha' 'red/design.md\n'}),
    ('size', 'at most 1000', {'src/base/a.h': '/* */\n' * 1001}),
    ('unlisted', 'is not built', {'src/base/b.c': 'int b;\n'}),
    ('map', 'does not exist', {'docs/MAP.md': 'The life of `base/gone.c`.\n'}),
    ('link', 'gone.md does not exist', {'docs/page.md': 'see [that](gone.md)\n'}),
    ('link', 'MAP.md has no heading the-end', {'docs/page.md': 'see [that](MAP.md#the-end)\n'}),
    ('script', 'invalid syntax', {'tests/x.py': 'def\n'}),
]
QUIET = {  # what looks like a fault and is none
    'words in comments and strings': {'src/base/a.c': '#include "base/a.h"\n\n/* goto malloc(1) */\nconst char *s = "free(x)";\n'},
    'a function pointer named free': {'src/base/a.c': 'void a(struct ops *o)\n{\n    o->free(o);\n}\n'},
    "what a library allocated": {'src/base/a.c': "void a(char *s)\n{\n    free(s); /* the library's */\n}\n"},
    'links to a file, to a heading, to a page elsewhere': {
        'docs/page.md': '## Who gets in, and `why`\n[a](MAP.md) [b](#who-gets-in-and-why) [c](https://example.com/x.md#y)\n'},
    'printing in a test': {'src/core/p_test.c': 'int main(void)\n{\n    printf("x");\n}\n',
                           'src/core/meson.build': "core_tests = files('p_test.c')\n"},
}


@pytest.fixture
def tree(tmp_path):
    def make(files, builds=None):
        for name, text in {**CLEAN, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / 'tools').mkdir()
        shutil.copy(ROOT / 'tools/check', tmp_path / 'tools/check')
        # Layout is not what these trees are about.
        (tmp_path / '.clang-format').write_text('DisableFormat: true\nSortIncludes: Never\n')
        subprocess.run(['git', 'init', '-q', str(tmp_path)], check=True)
        for folder, flags in (builds or {}).items():
            archive(tmp_path, folder, flags)
        return subprocess.run([tmp_path / 'tools/check', '--quick' if builds is None else '--globals'],
                              capture_output=True, text=True, check=False)
    return make


def archive(root, folder, flags):
    """The libraries of a build folder, under the names that the build gives them."""
    for layer in ('base', 'core'):
        place = root / folder / 'src' / layer
        place.mkdir(parents=True)
        objects = []
        for source in sorted((root / 'src' / layer).rglob('*.c')):
            name = '_'.join(source.relative_to(root / 'src' / layer).parts) + '.o'
            subprocess.run(['gcc', *flags, '-I', root / 'src', '-c', '-o', place / name, source], check=True)
            objects.append(name)
        if objects:
            subprocess.run(['gcc-ar', 'crs', f'libsp_{layer}.a', *objects], cwd=place, check=True)


@pytest.mark.parametrize('rule,what,files', FAULTS, ids=[f'{rule} {what}' for rule, what, _ in FAULTS])
def test_a_planted_fault_is_found(tree, rule, what, files):
    run = tree(files)
    assert run.returncode == 1
    assert [line for line in run.stdout.splitlines() if f': {rule}: ' in line and what in line], run.stdout + run.stderr


@pytest.mark.parametrize('files', [{}, *QUIET.values()], ids=['clean', *QUIET])
def test_nothing_is_found_where_nothing_is(tree, files):
    run = tree(files)
    assert run.returncode == 0, run.stdout + run.stderr


MACHINE, ASAN, BYTECODE = ['-O2', '-fPIE'], ['-fsanitize=address', '-O1', '-fno-pie'], ['-O2', '-flto', '-fno-fat-lto-objects']
FAT = ['-O2', '-flto', '-ffat-lto-objects']
HERE = [{'build': MACHINE}, {'build-test': ASAN}, {'build': BYTECODE, 'build-test': ASAN}, {'build': FAT}]
NAMES = ['machine code', 'sanitized', 'bytecode beside sanitized', 'both in one']
PLANTED = {
    'static': 'static int count;\nint next(void);\nint next(void)\n{\n    return ++count;\n}\n',
    'of_one_function': 'int last(void);\nint last(void)\n{\n    static int count = 5;\n    return ++count;\n}\n',
    'seen_by_all': 'int kept = 3;\n',
    'points': 'extern int other;\nint *count = &other;\n',
}
CONSTANT = 'int a(void);\nconst int table[3] = {1, 2, 3};\nextern int (*const list[])(void);\nint (*const list[])(void) = {a};\n'


@pytest.mark.parametrize('builds', HERE, ids=NAMES)
def test_planted_globals_are_found_and_constants_are_none(tree, builds):
    planted = {f'src/core/deep/{name}.c': text for name, text in PLANTED.items()}
    run = tree({'src/core/deep/constant.c': CONSTANT, **planted}, builds)
    found = sorted(line.split(' ')[0:3] for line in run.stdout.splitlines() if ': global: ' in line)
    assert [(place, name.split('.')[0]) for place, _, name in found] == \
        sorted((f'{path}:1:', 'count' if 'count' in text else 'kept') for path, text in planted.items()), run.stdout
    assert run.returncode == 1 and 'globals of 6 objects read' in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize('builds', [{}, {'build': BYTECODE}], ids=['no build', 'bytecode alone'])
def test_globals_that_nobody_can_read_are_told(tree, builds):
    run = tree({}, builds)
    assert run.returncode == 1 and 'src/base/a.c:1: unread: 1 sources of base/' in run.stdout, run.stdout + run.stderr


def test_a_source_that_was_not_built_is_told(tree, tmp_path):
    tree({}, {'build': MACHINE})
    (tmp_path / 'src/base/new.c').write_text('int count;\n')
    run = subprocess.run([tmp_path / 'tools/check', '--globals'], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and 'src/base/new.c:1: unread: 1 sources' in run.stdout, run.stdout + run.stderr


def test_a_long_function_is_a_warning_only(tree):
    run = tree({'src/base/a.c': f'int a(void)\n{{\n{LONG_BODY}}}\n'})
    assert run.returncode == 0 and ': function: ' in run.stdout
