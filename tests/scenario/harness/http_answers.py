"""Answers of HTTP as a proxy reads them from one connection: each ends where its own head, and what was asked, says."""
import re


def answers_in(data, methods=()):
    """The statuses. methods: what was asked, as far as it was not GET. What stands between two answers fails."""
    found = []
    while data:
        head, _, data = data.partition(b'\r\n\r\n')
        match = re.match(rb'HTTP/1\.1 (\d{3}) ', head)
        assert match, (found, head)
        length = re.search(rb'\r\nContent-Length: (\d+)', head)
        has_body = length and methods[len(found):len(found) + 1] != ['HEAD']
        data = data[int(length[1]) if has_body else 0:]
        found.append(int(match[1]))
    return found
