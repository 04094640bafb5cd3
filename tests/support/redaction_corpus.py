"""Planted secrets, which must be hidden, and near misses, which must not change.

Each entry names its channel: ``text`` entries are log lines, messages, names and stack traces, the
others are attributes. ``key`` is the attribute's key, empty for texts. Tokens of known vendors are
assembled at run time, so that secret scanners of repositories do not report them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

CANARY = "hunter2canary"
"""The secret of the entries that need no special shape."""


@dataclass(frozen=True)
class Planted:
    """A value with a secret in it: ``secret`` must not be in the redacted value."""

    channel: str
    key: str
    value: Any
    secret: str = CANARY

    @property
    def name(self) -> str:
        """Channel and value, for the ids of tests."""
        return f"{self.channel}-{self.key}-{str(self.value)[:40]}"


@dataclass(frozen=True)
class NearMiss:
    """A value that looks like a secret and is harmless: it must not change."""

    channel: str
    key: str
    value: Any

    @property
    def name(self) -> str:
        """Channel and value, for the ids of tests."""
        return f"{self.channel}-{self.key}-{str(self.value)[:40]}"


def _joined(*parts: str) -> str:
    return "".join(parts)


AWS_ID = _joined("AK", "IA", "IOSFODNN7CANARY1")
AWS_KEY = _joined("wJalrXUtnFEMI/K7MDENG", "/bPxRfiCYCANARYKEYS")
GITHUB = _joined("gh", "p_", "16C7e42F292c6912E7710c838347Ae178B4a")
GITLAB = _joined("gl", "pat-", "x7Kq2mN9pR4sT6vW8yZ1")
SLACK = _joined("xo", "xb-", "263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1")
STRIPE = _joined("sk", "_live_", "4eC39HqLyjWDarjtT1zdp7dc")
OPENAI = _joined("sk", "-proj-", "abcDEF0123456789abcDEF0123456789")
GOOGLE = _joined("AI", "za", "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY")
SENDGRID = _joined("S", "G.", "ngeVfQFYQlKU0ufo8x5d1A", ".", "TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr")
TWILIO = _joined("S", "K", "0123456789abcdef0123456789abcdef")
GRAFANA = _joined("gl", "sa_", "HOruNAb7SOiCdshU7algkrq7F0HRTBTU_0d2b4f1c")
NPM = _joined("np", "m_", "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789")
JWT = _joined("ey", "JhbGciOiJIUzI1NiJ9", ".", "eyJzdWIiOiIxMjM0In0", ".", "dBjftJeZ4CVPmB92K27uhbUJU1p1r")
PEM_BODY = "MIIEpAIBAAKCAQEAcanarycanarycanary"
PEM = _joined("-----BEGIN RSA ", "PRIVATE KEY-----\n", PEM_BODY, "\n-----END RSA ", "PRIVATE KEY-----")
WEBHOOK = _joined("https://hooks.sla", "ck.com/services/T00000000/B00000000/XXXXcanaryXXXX")
DISCORD = _joined("https://discord.com/api/web", "hooks/123456789012345678/abcDEFcanary-abcDEFcanary_0")
BASIC = base64.b64encode(f"bob:{CANARY}".encode()).decode()

PLANTED = [
    # URLs
    Planted("url", "url.full", f"https://bob:{CANARY}@example.com/x"),
    Planted("url", "url.full", f"https://{CANARY}@example.com/x"),
    Planted("url", "url.full", f"https://example.com/x?api_key={CANARY}&page=2"),
    Planted("url", "url.full", f"https://example.com/x?X-Amz-Signature={CANARY}&X-Amz-Date=20261126"),
    Planted("url", "url.full", f"https://example.com/cb#access_token={CANARY}&state=1"),
    Planted("url", "url.full", f"https://blob.example.com/a?sv=2026-01-01&sig={CANARY}%3D"),
    Planted("url", "url.full", f"https://example.com/cb?code={CANARY}0123456789&state=1"),
    Planted("url", "url.full", f"https://example.com/login?next=https%3A%2F%2Fx.com%2F%3Ftoken%3D{CANARY}"),
    Planted("url", "url.full", f"https://example.com/x?maps={GOOGLE}", GOOGLE),
    Planted("url", "http.url", f"http://example.com/x?access_token={CANARY}"),
    Planted("url", "http.target", f"/x?password={CANARY}"),
    Planted("url", "url.query", f"page=1&session_id={CANARY}"),
    Planted("url", "url.query", f"p%61ssword={CANARY}"),
    Planted("url", "url.query", f"user%5Bpassword%5D={CANARY}&user%5Bname%5D=bob"),
    Planted("url", "url.path", f"/hooks/{GITHUB}", GITHUB),
    Planted("url", "url.path", f"/reset/{JWT}", JWT),
    Planted("url", "url.path", f"/shop;jsessionid={CANARY}/cart"),
    # Headers
    Planted("header", "http.request.header.authorization", (f"Bearer {CANARY}",)),
    Planted("header", "http.request.header.x-api-key", [CANARY]),
    Planted("header", "http.request.header.cookie", f"theme=dark; sid={CANARY}"),
    Planted("header", "http.response.header.set-cookie", (f"sid={CANARY}; Path=/; HttpOnly",)),
    Planted("header", "http.request.header.proxy-authorization", f"Basic {BASIC}", BASIC),
    Planted("header", "http.request.header.x-csrf-token", CANARY),
    Planted("header", "http.request.header.referer", (f"https://example.com/?token={CANARY}",)),
    Planted("header", "rpc.grpc.request.metadata.authorization", [f"Bearer {CANARY}"]),
    # SQL
    Planted("sql", "db.query.text", f"INSERT INTO users (name, pin) VALUES ('bob', '{CANARY}')"),
    Planted("sql", "db.query.text", f"SELECT * FROM t WHERE a = 'it''s {CANARY}' AND b = 1"),
    Planted("sql", "db.query.text", rf"SELECT * FROM t WHERE a = 'it\'s {CANARY}'"),
    Planted("sql", "db.query.text", rf"SELECT * FROM t WHERE a = 'C:\' OR b = '{CANARY}'"),
    Planted("sql", "db.query.text", f"SELECT $$it's {CANARY}$$, $x$ {CANARY} $x$"),
    Planted("sql", "db.query.text", f"SELECT 1 -- {CANARY}\nFROM t /* {CANARY} */"),
    Planted("sql", "db.statement", f'SELECT * FROM t WHERE name = "{CANARY}"'),
    Planted("sql", "db.statement", "SELECT * FROM t WHERE id IN (417771, 0x5AFE, 3.5e-7)", "417771"),
    Planted("sql", "db.statement", f"SET PASSWORD FOR bob = '{CANARY}"),
    # Logs
    Planted("text", "", f"login password={CANARY} ok"),
    Planted("text", "", f'{{"user": "bob", "password": "{CANARY}", "n": 1}}'),
    Planted("text", "", json.dumps({"body": json.dumps({"api_key": CANARY})})),
    Planted("text", "", f"Authorization: Bearer {CANARY}"),
    Planted("text", "", f"got header Basic {BASIC} from peer", BASIC),
    Planted("text", "", f"Cookie: theme=dark; sid={CANARY}"),
    Planted("text", "", f"token is {JWT}.", JWT),
    Planted("text", "", f"key {AWS_ID} with {AWS_KEY}", AWS_ID),
    Planted("text", "", f"key {AWS_ID} with {AWS_KEY}", AWS_KEY),
    Planted("text", "", f"pushed with {GITHUB}", GITHUB),
    Planted("text", "", f"cloned with {GITLAB}", GITLAB),
    Planted("text", "", f"posting as {SLACK}", SLACK),
    Planted("text", "", f"charged by {STRIPE}", STRIPE),
    Planted("text", "", f"asked with {OPENAI}", OPENAI),
    Planted("text", "", f"mailed with {SENDGRID}", SENDGRID),
    Planted("text", "", f"called with {TWILIO}", TWILIO),
    Planted("text", "", f"dashboards by {GRAFANA}", GRAFANA),
    Planted("text", "", f"published with {NPM}", NPM),
    Planted("text", "", f"alert to {WEBHOOK}", "XXXXcanaryXXXX"),
    Planted("text", "", f"alert to {DISCORD}", "abcDEFcanary"),
    Planted("text", "", f"loaded {PEM} from disk", PEM_BODY),
    Planted("text", "", f"loaded {PEM!r} from disk", PEM_BODY),
    Planted("text", "", "paid with 4111 1111 1111 1111 today", "1111 1111 1111"),
    Planted("text", "", "paid with 5500-0000-0000-0004.", "5500-0000-0000-0004"),
    Planted("text", "", "paid with 378282246310005, thanks", "378282246310005"),
    Planted("text", "", "to DE89 3704 0044 0532 0130 00 today", "DE89 3704 0044"),
    Planted("text", "", "to GB29NWBK60161331926819", "NWBK60161331926819"),
    Planted("text", "", "ssn 123-45-6789 on file", "123-45-6789"),
    Planted("text", "", f"connecting to postgresql://app:{CANARY}@db:5432/shop"),
    Planted("text", "", f"connecting to redis://:{CANARY}@cache:6379/0"),
    Planted("text", "", f"connecting to mongodb+srv://app:p/w{CANARY}@db/shop"),
    Planted("text", "", f"Server=db;Uid=sa;Pwd={CANARY};Database=shop"),
    Planted("text", "", f"AccountName=x;AccountKey={CANARY}==;EndpointSuffix=core"),
    Planted("text", "", f"<user><password>{CANARY}</password></user>"),
    Planted("text", "", f"user=bob otp: 918273 secret='{CANARY}'", "918273"),
    Planted("text", "", f"changed password '{CANARY}' for bob"),
    Planted("text", "", f"running mysql -uroot -p{CANARY} shop"),
    Planted("text", "", f"running backup --db-password {CANARY} --verbose"),
    Planted("text", "", f"running curl -s -u bob:{CANARY} https://example.com"),
    Planted("text", "", f"SELECT * FROM users WHERE name = '{CANARY}'"),
    Planted("text", "", f"(0.001) SELECT a FROM t WHERE b = '{CANARY}'; args=('{CANARY}',); alias=default"),
    Planted("text", "", f"[generated in 0.00011s] ('{CANARY}', 1)"),
    Planted("text", "", f"Command '['sshpass', '-p', '{CANARY}', 'ssh', 'host']' returned non-zero exit status 5."),
    Planted("text", "", f"PUT /users?user%5Bapi_key%5D={CANARY}&user%5Bname%5D=bob HTTP/1.1"),
    Planted("text", "", f"SET PASSWORD FOR bob = '{CANARY}'"),
    Planted("text", "", f"headers {{'set-cookie': ('sid={CANARY}; Path=/; HttpOnly',)}}"),
    Planted("text", "", f"error {{'detail': '(1062, \"Duplicate entry \\'{CANARY}\\' for key \\'users.email\\'\")'}}"),
    Planted("text", "", f"query {{'sql': \"SELECT * FROM t WHERE a = 'it\\\\'s {CANARY}'\"}}"),
    # Extras and structures
    Planted("extra", "password", CANARY),
    Planted("extra", "user.password", CANARY),
    Planted("extra", "dbPassword", CANARY),
    Planted("extra", "client-secret", CANARY),
    Planted("extra", "x", {"user": "bob", "credentials": {"pw": CANARY}}),
    Planted("extra", "x", [{"headers": {"Authorization": f"Bearer {CANARY}"}}]),
    Planted("extra", "x", {"deep": [{"deeper": (f"password={CANARY}",)}]}),
    Planted("extra", "pin", 918273, "918273"),
    Planted("extra", "payment", 4111111111111111, "4111111111111111"),
    Planted("extra", "body", f"password={CANARY}".encode()),
    # Exceptions
    Planted("exception", "exception.message", f"could not connect to mysql://root:{CANARY}@db/shop"),
    Planted("exception", "exception.message", f"invalid api key: {CANARY}"),
    Planted("exception", "exception.message", f"DETAIL:  Key (email)=({CANARY}) already exists."),
    Planted("exception", "exception.message", f"(1062, \"Duplicate entry '{CANARY}' for key 'users.email'\")"),
    Planted("exception", "exception.message", f'invalid input syntax for type integer: "{CANARY}"'),
    Planted(
        "exception",
        "exception.message",
        f"(sqlite3.OperationalError) no such table: t\n[SQL: INSERT INTO t (a)\nVALUES ('x{CANARY}', ?)]\n"
        f"[parameters: ('{CANARY}', 5)]\n(Background on this error at: https://sqlalche.me/e/20/e3q8)",
    ),
    Planted(
        "exception",
        "exception.stacktrace",
        f'Traceback (most recent call last):\n  File "/app/x.py", line 3, in f\n    login(password="{CANARY}")\nValueError: no',
    ),
    Planted(
        "exception",
        "exception.stacktrace",
        f'Traceback (most recent call last):\n  File "/app/x.py", line 3, in f\n    db.execute("INSERT INTO t VALUES (\'{CANARY}\')")',
    ),
    # Local variables
    Planted("locals", "python.exception.locals", {"token": f"'{CANARY}'", "n": "3"}),
    Planted("locals", "python.exception.locals", {"user": f"User(name='bob', password='{CANARY}')"}),
    Planted("locals", "python.exception.locals", {"scope": f"{{'headers': [(b'authorization', b'Bearer {CANARY}')]}}"}),
    Planted("locals", "python.exception.locals", json.dumps({"self": {"_api_key": CANARY}})),
    # Arguments
    Planted("argv", "process.command_args", ["app", "--password", CANARY, "--verbose"]),
    Planted("argv", "process.command_args", ("app", f"--api-key={CANARY}")),
    Planted("argv", "process.command_args", ["/usr/bin/mysql", "-uroot", f"-p{CANARY}", "shop"]),
    Planted("argv", "process.command_args", ["sshpass", "-p", CANARY, "ssh", "host"]),
    Planted("argv", "process.command_args", ["env", f"DB_PASSWORD={CANARY}", "app"]),
    Planted("argv", "process.command_args", ["curl", "-H", f"Authorization: Bearer {CANARY}", "https://example.com"]),
    Planted("argv", "process.command_args", ["psql", f"postgresql://app:{CANARY}@db/shop"]),
    Planted("argv", "process.command_args", ["openssl", "rsa", "-passin", f"pass:{CANARY}"]),
    Planted("argv", "process.command_line", f"docker login -u bob -p {CANARY} registry.example.com"),
    Planted("argv", "process.command_line", f"DB_PASSWORD={CANARY} python app.py"),
    # Environment
    Planted("environment", "environ", {"DB_PASSWORD": CANARY, "HOME": "/root"}),
    Planted("environment", "environ", {"AWS_SECRET_ACCESS_KEY": AWS_KEY}, AWS_KEY),
    Planted("environment", "environ", {"DATABASE_URL": f"postgres://u:{CANARY}@h/d"}),
    Planted("environment", "environ", f"environ({{'GITHUB_TOKEN': '{CANARY}', 'LANG': 'C'}})"),
    Planted("environment", "environ", [f"MYSQL_PWD={CANARY}", "PATH=/bin"]),
    # Baggage
    Planted("baggage", "http.request.header.baggage", (f"user.id=1,session_token={CANARY},region=eu",)),
    Planted("baggage", "baggage.auth_token", CANARY),
    # File names
    Planted("file", "file.path", f"/tmp/export?token={CANARY}.csv"),
    Planted("file", "file.path", f"/backup/dump-{GITHUB}.sql", GITHUB),
    Planted("file", "file.path", "/data/cards/4111111111111111.json", "4111111111111111"),
    Planted("file", "file.name", f"password={CANARY}.txt"),
]

NEAR_MISSES = [
    # Keys that only look like secret ones
    NearMiss("key", "author", "Jane Doe"),
    NearMiss("key", "sessions_total", 42),
    NearMiss("key", "secretary", "Jane Doe"),
    NearMiss("key", "tokenizer", "bert-base"),
    NearMiss("key", "passenger", "Jane Doe"),
    NearMiss("key", "pinned", "v1"),
    NearMiss("key", "design", "flat"),
    NearMiss("key", "assignee", "jane"),
    NearMiss("key", "authority", "example.com"),
    NearMiss("key", "monkey", "george"),
    NearMiss("key", "compass", "north"),
    NearMiss("key", "primary_key", "id"),
    NearMiss("key", "cache.key", "user:17"),
    NearMiss("key", "passwordless", "yes"),
    NearMiss("key", "gen_ai.usage.input_tokens", 1523),
    NearMiss("key", "gen_ai.token.type", "input"),
    NearMiss("key", "token_count", 15),
    NearMiss("key", "password_reset_url", "https://example.com/reset"),
    NearMiss("key", "secret.name", "db-credentials"),
    NearMiss("key", "has_password", "yes"),
    NearMiss("key", "token", None),
    NearMiss("key", "auth", True),
    NearMiss("key", "password", "********"),
    NearMiss("key", "session", "active"),
    NearMiss("key", "tests.pass", 12),
    # URLs
    NearMiss("url", "url.full", "https://example.com/x?page=2&sort=author&q=a%20b+c&empty="),
    NearMiss("url", "url.full", "https://example.com:8443/@jane/posts/1?code=404&key=name#top"),
    NearMiss("url", "url.full", "http://[::1]:8080/path?email=jane@example.com"),
    NearMiss("url", "url.full", "https://example.com/commit/356a192b7913b04c54574d18c28d46e6395428ab"),
    NearMiss("url", "url.full", "https://example.com/x?id=550e8400-e29b-41d4-a716-446655440000"),
    NearMiss("url", "url.query", "tokens=15&pinned=1&passengers=2&monkey=george"),
    NearMiss("url", "url.query", "design=flat;author=bob&auth=false"),
    NearMiss("url", "url.path", "/api/v1/passwords/reset/tokens"),
    NearMiss("url", "http.target", "/search?q=how+to+design+a+monkey"),
    NearMiss("url", "remote", "ssh://git@github.com/shop/app.git"),
    NearMiss("url", "remote", "postgresql://app@db:5432/shop"),
    # Headers
    NearMiss("header", "http.request.header.user-agent", ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",)),
    NearMiss("header", "http.request.header.content-type", ("application/json",)),
    NearMiss("header", "http.request.header.if-none-match", ('"33a64df551425fcc55e4d42a148795d9f25f89d4"',)),
    NearMiss("header", "http.request.header.traceparent", ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",)),
    # SQL
    NearMiss("sql", "db.query.text", "SELECT users.password_hash, t1.col_2 FROM users AS t1 WHERE users.id = ?"),
    NearMiss("sql", "db.query.text", 'SELECT "auth_user"."id" FROM "auth_user" ON "a"."id" = "b"."a_id" LIMIT %s'),
    NearMiss("sql", "db.query.text", "INSERT INTO t (a, `key`) VALUES (?, ?), (:p1, $2), (%(id_1)s, @p3)"),
    NearMiss("sql", "db.statement", "BEGIN"),
    # Texts
    NearMiss("text", "", "order 4111111111111112 shipped, tracking 1234567890123456"),
    NearMiss("text", "", "order 4000 1234 5678 9010 fails the check"),
    NearMiss("text", "", "commit 356a192b7913b04c54574d18c28d46e6395428ab by author: bob"),
    NearMiss("text", "", "sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    NearMiss("text", "", "request 550e8400-e29b-41d4-a716-446655440000 took 12 ms"),
    NearMiss("text", "", "request 41111111-1111-4111-8111-111111111111 took 12 ms"),
    NearMiss("text", "", "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7"),
    NearMiss("text", "", "ISBN 978-3-16-148410-0 and 9783161484100"),
    NearMiss("text", "", "at 2026-11-26T21:13:06.123456789Z, epoch 1764191586123456789 and 1764191586123"),
    NearMiss("text", "", "call +49 170 1234567, 555-123-4567 or 0800 123 4567"),
    NearMiss("text", "", "version 1.45.1+20261126.4711 of 2026.11.26"),
    NearMiss("text", "", "pi is 3.14159265358979323846, mass 0.5500000000000004"),
    NearMiss("text", "", "numbers 4111 1111 1111 1112 and 41 11 11 11 11 11 11 11"),
    NearMiss("text", "", "DE00 3704 0044 0532 0130 00 has wrong check digits"),
    NearMiss("text", "", "part 000-12-3456 and 2026-11-2601"),
    NearMiss("text", "", "Invalid token: could not decode header"),
    NearMiss("text", "", "SyntaxError: unexpected token: '}'"),
    NearMiss("text", "", "password: must be at least 12 characters"),
    NearMiss("text", "", "Access denied for user 'app'@'10.0.0.1' (using password: YES)"),
    NearMiss("text", "", "FATAL: password authentication failed for user app"),
    NearMiss("text", "", "Basic authentication required, Bearer authentication preferred"),
    NearMiss("text", "", "basic Python3 course, basic HTML5templates"),
    NearMiss("text", "", "def login(password: str, token: Optional[str] = None) -> None:"),
    NearMiss("text", "", "password=password, token=self.token, api_key=settings.api_key"),
    NearMiss("text", "", "secret = get_secret('db')"),
    NearMiss("text", "", "conn = f'postgresql://{user}:{password}@{host}/{db}'"),
    NearMiss("text", "", "engine postgresql://app:***@db/shop, Field(password=SecretStr('**********'))"),
    NearMiss("text", "", "12 tests: pass: 11, fail: 1, tokens: 1532, max_tokens=4096"),
    NearMiss("text", "", "Select 2 items from the 'menu' and update the 3 settings"),
    NearMiss("text", "", "please insert into slot 5, then delete from shelf 7"),
    NearMiss("text", "", "task-1234567890abcdefghijk, disk-usage, risk-assessment-of-2026"),
    NearMiss("text", "", "the mapping of shipping: 3 pinned, monkey: george, keyboard: us"),
    NearMiss("text", "", "see /etc/passwd, /run/secrets:/run/secrets:ro and docker run -p 8080:80"),
    NearMiss("text", "", "PWD=/home/app OLDPWD=/home SSH_AUTH_SOCK=/tmp/agent.1"),
    NearMiss("text", "", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"),
    NearMiss("text", "", "ratio 16:9 at 12:30, key: value, a=b, x: [1, 2]"),
    NearMiss("text", "", "mail jane@example.com about it"),
    NearMiss("text", "", "Command '['mysql', '-p', 'shop']' and ['cp', '-p', 'a'] and buttons 'login', '-p' of (1)"),
    NearMiss("text", "", r"copied 'C:\Users\' to '\\server\share', 100%5D and set password for bob"),
    # Structures
    NearMiss("extra", "x", {"user": "bob", "items": [1, 2.5, None, True], "nested": {"author": "jane"}}),
    NearMiss("extra", "x", ("a", "b")),
    NearMiss("extra", "credentials", {}),
    NearMiss("extra", "data", b"\x00\xff\xfe"),
    NearMiss("exception", "exception.type", "jwt.exceptions.InvalidTokenError"),
    NearMiss("exception", "exception.message", "'NoneType' object has no attribute 'token'"),
    NearMiss(
        "exception", "exception.stacktrace", 'File "/app/auth/session.py", line 12, in token\n    raise KeyError(key)'
    ),
    NearMiss("locals", "python.exception.locals", {"author": "'jane'", "n": "3", "tokens": "[1, 2, 3]"}),
    # Arguments, environment, baggage, files
    NearMiss(
        "argv", "process.command_args", ["python", "app.py", "--author", "jane", "--no-password", "x", "--port=80"]
    ),
    NearMiss("argv", "process.command_args", ["mysql", "-p", "shop"]),
    NearMiss("argv", "process.command_args", ["cp", "-p", "a", "b"]),
    NearMiss("argv", "process.command_line", "gunicorn app:wsgi --workers 4 --keyfile /etc/ssl/app.key"),
    NearMiss("environment", "environ", {"HOME": "/root", "PWD": "/app", "SSH_AUTH_SOCK": "/tmp/agent.1", "LANG": "C"}),
    NearMiss("baggage", "http.request.header.baggage", ("user.id=1,region=eu,author=jane",)),
    NearMiss("file", "file.path", "/app/secrets/tokens/password_reset.py"),
    NearMiss("file", "file.path", "/data/2026-11-26/export-1234567890123456.csv"),
]
