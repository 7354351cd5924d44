#!/usr/bin/env python3
"""docs/examples/stream.html in a real browser: another origin, live records, and a gateway that is killed
and comes back. Skipped, saying so, where there is no Chromium."""
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import main, running, wait_for  # noqa: E402

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "examples", "stream.html")
TOPIC = "live"

# Tells this test what the page shows, whenever that changes.
SPY = """<script>
  let told = 0;
  function tell() {
    fetch("/shown", {method: "POST", body: JSON.stringify({
      number: ++told,
      state: document.getElementById("state").textContent,
      records: Array.from(records.children, (r) => [Number(r.dataset.partition), Number(r.dataset.offset)])
    })});
  }
  new MutationObserver(tell).observe(document.body, {childList: true, subtree: true, characterData: true});
  tell();
</script>"""


class PageServer:
    def __init__(self):
        self.shown = {"number": 0, "state": None, "records": []}
        self.lock = threading.Lock()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with open(PAGE, encoding="utf-8") as page:
                    body = page.read().replace("</html>", SPY + "</html>").encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                shown = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.lock:  # they come on several connections, in any order
                    if shown["number"] > owner.shown["number"]:
                        owner.shown = shown
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Browser:
    def __init__(self, program, url):
        self.dir = tempfile.mkdtemp(prefix="riacho-browser-")
        self.popen = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-background-networking", "--user-data-dir=" + self.dir, url],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def close(self):
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def make_topic(cluster):
    cluster.create_topic(TOPIC)
    wait_for(lambda: cluster.get("/v1/topics/" + TOPIC, gateway=1).status == 200, "the topic everywhere")


def produce(cluster, count):
    lines = "".join(json.dumps({"key": "k%d" % i, "value": {"i": i}}) + "\n" for i in range(count))
    reply = cluster.post("/v1/topics/%s/records" % TOPIC, lines, {"Content-Type": "application/x-ndjson"},
                         gateway=1)
    assert reply.status == 200, reply


def page_url(pages, cluster, **query):
    query.update(gateway=cluster.url, topic=TOPIC, heartbeat_ms=1000)
    return "%s/stream.html?%s" % (pages.origin, urllib.parse.urlencode(query))


def check_shown(pages, cluster):
    """Everything that is stored, once."""
    stored = sorted((p, r["offset"]) for p, records in cluster.read_topic(TOPIC).items() for r in records)
    try:
        wait_for(lambda: len(pages.shown["records"]) >= len(stored), "the page to show all", 30)
    except AssertionError as error:
        raise AssertionError("%s; %d are stored, it shows %r" % (error, len(stored), pages.shown)) from error
    assert sorted(map(tuple, pages.shown["records"])) == stored, pages.shown


def a_page_of_another_origin_shows_a_topic_live():
    pages = PageServer()
    with running(gateways=2, options={"gateway": ["--cors-origins=" + pages.origin]}) as cluster:
        make_topic(cluster)
        browser = Browser(chromium(), page_url(pages, cluster))
        try:
            wait_for(lambda: pages.shown["state"] == "live", "the page to be live", 60)
            produce(cluster, 20)
            check_shown(pages, cluster)
            cluster["gateway-1"].kill()
            produce(cluster, 20)
            wait_for(lambda: pages.shown["state"] == "connecting again", "the page to notice", 30)
            cluster["gateway-1"].start()
            wait_for(lambda: cluster.get("/readyz").status == 200, "the gateway to be back")
            produce(cluster, 20)
            check_shown(pages, cluster)
            assert pages.shown["state"] == "live", pages.shown
            assert cluster.request("DELETE", "/v1/topics/" + TOPIC, gateway=1).status == 204
            wait_for(lambda: pages.shown["state"] == "the topic was deleted", "the page to be told", 30)
        finally:
            browser.close()


def a_page_of_an_origin_that_is_not_allowed_sees_nothing():
    pages = PageServer()
    with running(gateways=2, options={"gateway": ["--cors-origins=http://other.example"]}) as cluster:
        make_topic(cluster)
        produce(cluster, 5)
        browser = Browser(chromium(), page_url(pages, cluster, **{"from": "earliest"}))
        try:
            wait_for(lambda: pages.shown["state"] == "refused", "the page to be refused", 60)
            assert pages.shown["records"] == [], pages.shown
        finally:
            browser.close()


if __name__ == "__main__":
    if chromium() is None:
        print("no Chromium here (Debian: apt-get install chromium): the browser tests are skipped")
        print("0 passed, 0 failed, 2 skipped")
        sys.exit(0)
    main([a_page_of_another_origin_shows_a_topic_live,
          a_page_of_an_origin_that_is_not_allowed_sees_nothing])
