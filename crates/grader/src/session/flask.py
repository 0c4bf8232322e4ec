"""A small stand-in for Flask in the grader's images: routes that are functions, plain answers, JSON."""

import html
import json as _json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_now = threading.local()


class _Request:
    """The request that this thread answers."""

    def __getattr__(self, name):
        return getattr(_now.request, name)

    def get_json(self, *_, **__):
        return _json.loads(_now.request.data or b"null")

    json = property(get_json)


request = _Request()


class _Values(dict):
    def get(self, key, default=None, type=None):
        value = super().get(key, default)
        return type(value) if type and value is not None else value


class _Current:
    """What is known of one request."""


def _values(query):
    return _Values({name: values[0] for name, values in parse_qs(query).items()})


class Response:
    def __init__(self, response=b"", status=200, headers=None, mimetype=None, content_type=None):
        self.data = response.encode() if isinstance(response, str) else bytes(response)
        self.status_code = int(str(status).split()[0])
        self.headers = dict(headers or {})
        self.headers.setdefault("Content-Type", content_type or mimetype or "text/html; charset=utf-8")


class HTTPException(Exception):
    def __init__(self, code, description=""):
        super().__init__(description)
        self.code, self.description = code, description


def abort(code, description=""):
    raise HTTPException(code, description)


def make_response(*parts):
    return _response(parts[0] if len(parts) == 1 else parts)


def redirect(location, code=302):
    return Response("", code, {"Location": location})


def jsonify(*values, **named):
    value = named or (values[0] if len(values) == 1 else list(values))
    return Response(_json.dumps(value) + "\n", mimetype="application/json")


def escape(text):
    return html.escape(str(text))


def render_template_string(source, **values):
    def value(found):
        names = found.group(1).split("|")[0].strip().split(".")
        it = values.get(names[0], "")
        for name in names[1:]:
            it = it.get(name, "") if isinstance(it, dict) else getattr(it, name, "")
        return html.escape(str(it))

    return re.sub(r"{{(.*?)}}", value, source)


def render_template(name, **values):
    with open("templates/" + name, encoding="utf-8") as file:
        return render_template_string(file.read(), **values)


def _response(value):
    status, headers = 200, {}
    if isinstance(value, tuple):
        value, rest = value[0], value[1:]
        for part in rest:
            if isinstance(part, dict):
                headers.update(part)
            else:
                status = part
    if isinstance(value, (dict, list)):
        value = jsonify(value)
    if not isinstance(value, Response):
        value = Response(value)
    if status != 200:
        value.status_code = int(str(status).split()[0])
    value.headers.update(headers)
    return value


class Flask:
    def __init__(self, import_name, **_):
        self.name, self.config, self._rules, self._errors = import_name, {}, [], {}

    def route(self, rule, methods=("GET",), **_):
        pattern = re.sub(r"<(?:\w+:)?(\w+)>", r"(?P<\1>[^/]+)", rule)
        kinds = dict((name, kind) for kind, name in re.findall(r"<(\w+):(\w+)>", rule))

        def add(function):
            wanted = {method.upper() for method in methods} | {"HEAD"}
            self._rules.append((re.compile(pattern + r"/?\Z" if rule != "/" else r"/\Z"), wanted, kinds, function))
            return function

        return add

    def get(self, rule, **options):
        return self.route(rule, methods=("GET",), **options)

    def post(self, rule, **options):
        return self.route(rule, methods=("POST",), **options)

    def errorhandler(self, code):
        def add(function):
            self._errors[code] = function
            return function

        return add

    def _answer(self, method, path):
        try:
            allowed = False
            for pattern, methods, kinds, function in self._rules:
                found = pattern.match(path)
                if found and method in methods:
                    named = found.groupdict()
                    named = {name: int(it) if kinds.get(name) == "int" else it for name, it in named.items()}
                    return _response(function(**named))
                allowed = allowed or bool(found)
            raise HTTPException(405 if allowed else 404, "Not Found")
        except HTTPException as why:
            handler = self._errors.get(why.code)
            return _response((handler(why), why.code)) if handler else Response(why.description, why.code)
        except Exception as why:  # As the real one: a fault of the program is an answer, too.
            import traceback

            traceback.print_exc()
            handler = self._errors.get(type(why)) or self._errors.get(Exception) or self._errors.get(500)
            return _response(handler(why)) if handler else Response("Internal Server Error", 500)

    def run(self, host="127.0.0.1", port=5000, **_):
        app = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self):
                url = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)

                now = _Current()
                now.method, now.path, now.url, now.headers = self.command, url.path, self.path, self.headers
                now.args, now.data = _values(url.query), self.rfile.read(length)
                now.form = _values(now.data.decode(errors="replace"))
                now.remote_addr = self.client_address[0]
                _now.request = now
                answer = app._answer(self.command, url.path)
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.data)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

        server = ThreadingHTTPServer((host, int(port)), Handler)
        print(f" * Running on http://{host}:{port}", flush=True)
        server.serve_forever()
