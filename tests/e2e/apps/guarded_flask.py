"""One open route and two that refuse, on Flask."""

import sys

from flask import Flask, abort

app = Flask(__name__)
app.add_url_rule("/open", view_func=lambda: "fine", endpoint="open")
app.add_url_rule("/secret/<number>", view_func=lambda number: abort(401), endpoint="secret")
app.add_url_rule("/closed", view_func=lambda: ("no", 403), endpoint="closed")

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
