"""c: the program that people run is hardened, whoever made its machine code: the compiler or, with optimization at the link, the
linker. Read out of the file itself; sanitized builds are made otherwise."""
import re
import subprocess

import pytest

from harness.fortress import BINARY, is_sanitized

pytestmark = [pytest.mark.release,
              pytest.mark.skipif(BINARY.exists() and is_sanitized(), reason='a sanitized build is not hardened')]

# Functions of the path of a message, each from another layer that is optimized at the link, and where a trace says that it is.
OF_THE_PATH = {'filters_match': 'src/core/filters.c', 'mqtt_server_deliver': 'src/engine/mqtt_server.c', 'publish_route': 'src/service/broker/route.c'}


def tool(*command):
    return subprocess.run([*command, str(BINARY)], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope='module')
def functions():
    """The instructions of each function, by name."""
    text = tool('objdump', '-d', '--no-show-raw-insn')
    parts = re.split(r'^[0-9a-f]+ <([^>]+)>:$', text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_the_file_is_laid_out_safely():
    assert 'DYN (Position-Independent Executable file)' in tool('readelf', '-hW')
    segments = tool('readelf', '-lW')
    assert re.search(r'^\s+GNU_RELRO\s', segments, re.M)
    assert re.search(r'^\s+GNU_STACK\s.*\sRW\s', segments, re.M), 'the stack can be executed'
    loads = re.findall(r'^\s+LOAD\s+(?:0x[0-9a-f]+\s+){5}([RWE ]{3})', segments, re.M)
    assert loads and not [flags for flags in loads if 'W' in flags and 'E' in flags]
    dynamic = tool('readelf', '-dW')
    assert 'BIND_NOW' in dynamic and 'TEXTREL' not in dynamic


def test_calls_that_could_overflow_are_checked():
    wanted = set(re.findall(r'\b(__\w+_chk)\b', tool('readelf', '--dyn-syms', '-W')))
    assert {'__memcpy_chk', '__memset_chk', '__snprintf_chk', '__vsnprintf_chk'} <= wanted, 'no _FORTIFY_SOURCE'


def test_every_function_is_guarded(functions):
    """Guards of the stack by count, for who has one is the compiler's choice; marks of indirect calls on all that was named."""
    ours = {name: body for name, body in functions.items() if not name.startswith(('_', '.')) and '@plt' not in name}
    assert len(ours) > 3000
    guarded = [name for name, body in ours.items() if '__stack_chk_fail' in body]
    assert len(guarded) > len(ours) / 3, f'{len(guarded)} of {len(ours)} functions look whether their stack was overrun'
    marked = [name for name, body in ours.items() if 'endbr64' in body.split('\n', 2)[1]]
    assert len(marked) > len(ours) * 2 / 3, f'{len(marked)} of {len(ours)} functions begin with a mark'


@pytest.mark.parametrize('name,source', OF_THE_PATH.items(), ids=OF_THE_PATH)
def test_a_trace_has_names_and_lines(functions, name, source):
    body = next((body for known, body in functions.items() if re.fullmatch(rf'{name}(?:\.\w+)*', known)), None)
    assert body, f'{name} has no symbol'
    address = re.match(r'\s*([0-9a-f]+):', body).group(1)
    place = subprocess.run(['addr2line', '-e', str(BINARY), address], capture_output=True, text=True, check=True).stdout
    assert re.search(rf'{source}:[1-9]', place), place
