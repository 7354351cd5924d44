"""What is done to the gateway: wrk, http_read, and filling a topic with known records."""
import http.client
import json
import os
import subprocess
import threading
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
RAW = "application/vnd.riacho.batch"
JSON = "application/json"


class Failed(Exception):
    """A benchmark that could not be run; the text says why."""


class Gateway:
    """A server of the v2 (and for reading the /v1) interface at host:port."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.url = "http://%s:%d" % (host, port)

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def get_json(self, path):
        status, body = self.request("GET", path)
        if status != 200:
            raise Failed("GET %s: %d %s" % (path, status, body[:300]))
        return json.loads(body)

    def end_offsets(self, topic):
        """{partition: end offset}."""
        base = "/topics/%s/partitions" % urllib.parse.quote(topic)
        partitions = [p["partition"] for p in self.get_json(base)]
        return {p: self.get_json("%s/%d/offsets" % (base, p))["end_offset"] for p in partitions}

    def stored(self, topic):
        return sum(self.end_offsets(topic).values())


def run_tool(argv, timeout):
    """The last line of its output, which is JSON."""
    done = subprocess.run(argv, capture_output=True, timeout=timeout, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise Failed("%s: %s" % (os.path.basename(argv[0]),
                                 (done.stderr or done.stdout).strip() or done.returncode))
    try:
        return json.loads(lines[-1])
    except ValueError:
        raise Failed("%s: %s" % (os.path.basename(argv[0]), lines[-1]))


def wrk_argv(gateway, topic, seconds, connections, records, size, kind, keys):
    """The time-out is long so that a slow reply is a latency and not an error."""
    return ["wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--timeout", "60s", "--latency",
            "-s", os.path.join(HERE, "produce.lua"),
            "%s/topics/%s" % (gateway.url, urllib.parse.quote(topic)), "--",
            kind, str(records), str(size), str(keys)]


def wrk(gateway, topic, seconds, **load):
    return run_tool(wrk_argv(gateway, topic, seconds, **load), seconds + 90)


def http_read(tools, gateway, topic, partitions, connections, seconds, accept, max_bytes):
    return run_tool([os.path.join(tools, "http_read"), gateway.host, str(gateway.port), topic,
                     str(partitions), str(connections), str(seconds), accept, str(max_bytes)],
                    seconds + 60)


def numbered_body(records, size):
    """Record i has the key "k<i>" and a value of `size` bytes with a member n = i modulo 10."""
    parts = []
    for i in range(records):
        value = '{"n":%d,"v":""}' % (i % 10)
        value = value[:-2] + "x" * (size - len(value)) + value[-2:]
        parts.append('{"key":"k%d","value":%s}' % (i, value))
    return ('{"records":[' + ",".join(parts) + "]}").encode()


def fill(gateway, topic, body, requests, connections=4):
    """Exactly `requests` times the same body; any failure ends it."""
    path = "/topics/" + urllib.parse.quote(topic)
    headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
    turns = iter(range(requests))
    lock, failures = threading.Lock(), []

    def work():
        connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=60)
        try:
            while not failures:
                with lock:
                    if next(turns, None) is None:
                        return
                connection.request("POST", path, body, headers)
                reply = connection.getresponse()
                text = reply.read()
                if reply.status != 200 or b'"offset":null' in text:
                    failures.append("%d %s" % (reply.status, text[:300]))
        except (OSError, http.client.HTTPException) as error:
            failures.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise Failed("filling %s: %s" % (topic, failures[0]))
