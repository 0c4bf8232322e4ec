"""The page: greets each visitor with the number that the counter at the URL in the first argument gives out."""

import sys

import requests
from flask import Flask

if len(sys.argv) != 2:
    sys.exit("usage: app.py http://ADDRESS:8080/")
counter = sys.argv[1].rstrip("/")
app = Flask(__name__)


@app.route("/")
def greet():
    try:
        answer = requests.get(counter + "/get_and_increment_counter", timeout=2)
    except requests.exceptions.RequestException as why:
        return f"The counter does not answer: {type(why).__name__}\n", 502
    if answer.status_code != 200:
        return f"The counter answers with status {answer.status_code}\n", 502
    return f"Hello! You are visitor number {answer.text.strip()}.\n"


app.run(host="0.0.0.0", port=8080)
