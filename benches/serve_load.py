#!/usr/bin/env python3
"""Loads a running `shoal serve` and says how it bore it. Needs nothing but Python 3.

  benches/serve_load.py URL clients [COUNT] [SECONDS]   streaming clients; one answer in five is left midway, and beside them stand
                                                         a hundred half-sent requests and clients that never read
  benches/serve_load.py URL crowd [CONNECTIONS]          so many connections that say nothing, and one client that wants an answer
  benches/serve_load.py URL speed [CLIENTS] [TOKENS] [IDS] tokens per second of all clients together, each with one answer; IDs of tokens that
                                                         end an answer are ruled out, so that all have the same length
  benches/serve_load.py URL prefix [TOKENS]              time to the first token of a long prompt, unknown and known

One line of JSON at the end. Resident memory is read from /proc, so server and load run on one machine.
"""

import http.client
import json
import random
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse


def connect(url, timeout=120):
    return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)


def body(text, tokens, **more):
    messages = [{"role": "user", "content": text}]
    return json.dumps({"messages": messages, "max_tokens": tokens, "stream": True,
                       "stream_options": {"include_usage": True}, **more})


def ask(url, text, tokens, **more):
    """Seconds to the first text, seconds in all, and the usage."""
    connection = connect(url)
    start = time.monotonic()
    connection.request("POST", "/v1/chat/completions", body(text, tokens, **more), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {response.read()[:200]}")
    first, usage, ended = None, None, False
    for line in response:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            ended = True
            break
        event = json.loads(line[6:])
        if "error" in event:
            raise RuntimeError(event["error"]["message"])
        if first is None and any(choice["delta"].get("content") for choice in event["choices"]):
            first = time.monotonic() - start
        usage = event.get("usage") or usage
    if not ended:
        raise RuntimeError("the stream broke off")
    return first, time.monotonic() - start, usage


def resident(url):
    """Kibibytes of the process that listens there."""
    found = subprocess.run(["pgrep", "-f", f"shoal.* serve .*{url.port}"], capture_output=True, text=True)
    for pid in found.stdout.split():
        with open(f"/proc/{pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        if lines["Name"].strip().startswith("shoal"):
            return int(lines["VmRSS"].split()[0])
    return None


def metric(url, name):
    connection = connect(url)
    connection.request("GET", "/metrics")
    for line in connection.getresponse().read().decode().splitlines():
        if line.startswith(name):
            return float(line.rsplit(" ", 1)[1])
    return None


def clients(url, count=64, seconds=300):
    until = time.monotonic() + seconds
    counts = {"whole": 0, "left": 0, "busy": 0, "tokens": 0}
    errors, lock = [], threading.Lock()

    def say(name, more=1):
        with lock:
            counts[name] += more

    def client(number):
        rng = random.Random(number)
        while time.monotonic() < until:
            text = f"Tell {number} things, number {rng.random()}."
            try:
                if rng.random() < 0.2:
                    connection = connect(url)
                    connection.request("POST", "/v1/chat/completions", body(text, 64), {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    response.read(200)
                    connection.close()
                    say("busy" if response.status == 429 else "left")
                else:
                    _, _, usage = ask(url, text, 64)
                    say("whole")
                    say("tokens", usage["completion_tokens"])
            except RuntimeError as error:
                if str(error).startswith("429"):
                    say("busy")
                    time.sleep(1)
                else:
                    errors.append(str(error))
            except OSError as error:
                errors.append(repr(error))

    idle = []
    for _ in range(100):
        half = socket.create_connection((url.hostname, url.port))
        half.send(b"POST /v1/chat/completions HTTP/1.1\r\nHo")
        idle.append(half)
    for _ in range(8):
        dead = socket.create_connection((url.hostname, url.port))
        text = body("Never read.", 200).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(text)}\r\n\r\n"
        dead.send(head.encode() + text)
        idle.append(dead)
    threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < until:
        time.sleep(10)
        memory.append(resident(url))
    for thread in threads:
        thread.join()
    for connection in idle:
        connection.close()
    time.sleep(2)
    return {"clients": count, "seconds": seconds, **counts, "tokens_per_s": counts["tokens"] / seconds, "errors": errors[:5],
            "error_count": len(errors), "resident_kib": memory, "kv_in_use_after": metric(url, "vllm:kv_cache_usage_perc")}


def crowd(url, connections=10000):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    alone = statistics.median(ask(url, "One.", 8)[1] for _ in range(5))
    held, refused = [], 0
    for _ in range(min(connections, hard - 100)):
        try:
            held.append(socket.create_connection((url.hostname, url.port), timeout=5))
        except OSError:
            refused += 1
    answered, failed = [], 0
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            answered.append(ask(url, "One.", 8)[1])
        except (OSError, RuntimeError, http.client.HTTPException):
            failed += 1
            time.sleep(0.5)
    return {"connections": len(held), "refused": refused, "seconds_alone": alone, "answered_within_30_s": len(answered),
            "failed_within_30_s": failed, "seconds_median": statistics.median(answered) if answered else None}


def speed(url, count=8, tokens=128, *ends):
    bias = {"logit_bias": {str(end): -100 for end in ends}}
    results = [None] * count

    def client(number):
        results[number] = ask(url, f"Write a long story about the number {number}.", tokens, **bias)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    made = sum(usage["completion_tokens"] for _, _, usage in results)
    return {"clients": count, "tokens": made, "seconds": seconds, "tokens_per_s": made / seconds}


def prefix(url, tokens=4000):
    words = ["fish", "boat", "wave", "shell", "crab", "sand", "moon", "tide"]
    rng = random.Random(tokens)
    text = " ".join(rng.choice(words) for _ in range(tokens))
    seconds = [ask(url, text + end, 2) for end in (" One.", " Two.", " Three.")]
    return {"prompt_tokens": seconds[0][2]["prompt_tokens"], "cached": [usage["prompt_tokens_details"]["cached_tokens"] for _, _, usage in seconds],
            "seconds_to_first": [first for first, _, _ in seconds]}


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in ("clients", "crowd", "speed", "prefix"):
        sys.exit(__doc__)
    url = urllib.parse.urlparse(sys.argv[1])
    numbers = [int(number) for number in sys.argv[3:]]
    print(json.dumps({"load": sys.argv[2], **globals()[sys.argv[2]](url, *numbers)}))


if __name__ == "__main__":
    main()
