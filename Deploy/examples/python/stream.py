#!/usr/bin/env python3
"""Prints an answer as it comes, and goes on where it was when the connection drops. Standard library only.

    python3 stream.py "Show me a table" [http://localhost:8080]
"""

import http.client
import json
import sys
import time
import urllib.parse


def lines(base, prompt):
    """Each line of the answer as an object: {"text": …} …, then {"done": true, …} or {"error": …}."""
    place = urllib.parse.urlsplit(base)
    request = ("POST", "/api/stream?format=ndjson", json.dumps({"prompt": prompt}), {"Content-Type": "application/json"})
    stream, received, rest, tries = None, 0, b"", 0
    while True:
        connection = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=60)
        try:
            connection.request(*request)
            response = connection.getresponse()
            if response.status == 204:  # nothing more
                return
            if response.status != 200:  # the status is true: 401, 429, 502 …
                raise SystemExit(f"{response.status}: {response.read().decode()}")
            stream = stream or response.headers["x-stream-id"]
            while data := response.read1(65536):  # what is there, and no waiting for more
                received, tries = received + len(data), 0
                *whole, rest = (rest + data).split(b"\n")
                yield from (json.loads(line) for line in whole if line)
            return
        except (OSError, http.client.HTTPException):
            tries += 1
            if not stream or tries > 5:
                raise
            print("[reconnecting]", file=sys.stderr)
            time.sleep(0.1 * 2**tries)
            request = ("GET", f"/api/stream/{stream}/stream?from={received}")
        finally:
            connection.close()


def main():
    prompt = sys.argv[1] if len(sys.argv) > 1 else "Show me a table"
    end = None
    for line in lines(sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8080", prompt):
        print(line.get("text", ""), end="", flush=True)
        end = line
    print()
    if not end or not end.get("done"):
        raise SystemExit(f"the answer is not whole: {end}")


main()
