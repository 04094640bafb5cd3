"""The one table of secrets: words of keys, harmless values, shapes of tokens, special attributes.

Data only; the other files of this package apply it.
"""

from __future__ import annotations

import re
from typing import Final

from otel_distro.redaction.literals import lazy


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MASK: Final = "[redacted]"
"""The text that replaces a secret."""

LITERAL: Final = "?"
"""The text that replaces a literal in SQL, as the semantic conventions require.
https://opentelemetry.io/docs/specs/semconv/db/database-spans/#sanitization-of-dbquerytext"""

# Keys. A key is split into its words (`X-Api-Key`, `apiKey` and `API_KEY` are all `x`, `api`,
# `key`). An entry of several words is written here without separators and matches words that stand
# side by side.

PASSWORD_WORDS: Final = _words(
    "password passwords passwd pwd passphrase passcode passwort kennwort motdepasse contrasena senha wachtwoord "
    "userpass dbpass smtppass"
)
"""A key with one of these words is secret; only empty values and placeholders stay."""

HEADER_WORDS: Final = _words("authorization cookie setcookie")
"""A key with one of these words is secret, and its value may consist of several words."""

SECRET_WORDS: Final = _words(
    "secret token credential apikey accesskey privatekey secretkey signingkey encryptionkey masterkey hmackey auditkey "
    "accountkey sharedaccesskey storagekey sessionid sessionkey sessid csrf xsrf jwt cvv cvc cardnumber creditcard "
    "ccnumber securitycode ssn socialsecurity iban totp otpcode onetimecode onetimepassword verificationcode mfacode "
    "pincode connectionstring webhookurl bindpw"
)
"""A key with one of these words is secret."""

COUNTABLE_WORDS: Final = _words("tokens secrets credentials cookies")
"""Like :data:`SECRET_WORDS`, but a numeric value is a count and stays."""

LAST_WORDS: Final = _words("auth oauth signature otp pin bearer samlresponse samlrequest assertion")
"""A key that ends with one of these words is secret; elsewhere in a key they mean nothing."""

LAST_COUNTABLE_WORDS: Final = _words("sig pass pw")
"""Like :data:`LAST_WORDS`, but a numeric value is a count and stays."""

LAST_OPAQUE_WORDS: Final = _words("session sid")
"""A key that ends with one of these words is secret if its value looks like a random identifier."""

QUERY_OPAQUE_KEYS: Final = _words("code key")
"""These whole keys are secret in a URL's query if the value looks like a random identifier."""

GLUED_ENDS: Final = (
    *("password", "passwd", "passphrase", "passwort", "secret", "token", "apikey", "secretkey", "accesskey"),
    *("privatekey", "sessionid", "sessid", "credential", "credentials", "cookie"),
)
"""A word that ends with one of these, as in `dbpassword` or `jsessionid`, counts as it."""

GLUED_STARTS: Final = ("password", "passwd", "apikey", "aspsessionid")
"""A word that begins with one of these, as in `passwordhash`, counts as it."""

PLAIN_WORDS: Final = _words("passwordless passwordlessly")
"""Words that begin like a secret word and are harmless."""

NEGATING_WORDS: Final = _words("no has is needs requires without forgot forgotten")
"""A key that begins with one of these describes a secret and holds none: `--no-password`,
`has_token`."""

DESCRIBING_WORDS: Final = _words(
    "age alg algorithm arn at backend blocked bucket changed class column count counter created date decision denied "
    "dir directory disabled domain duration enabled endpoint error errors exempt exists expiration expired expires "
    "expiry failed failure failures field file folder format granted hint host httponly issuer kind label latency len "
    "length limit limits lifetime manager max method min missing mode ms name names outcome path policy port present "
    "provider quota rate reason reset required result rotation samesite scheme scope scopes seconds secure service "
    "size sock source status store strategy time timeout timestamp total ttl type types uri url usage used user valid "
    "validator version"
)
"""A secret word before one of these, or in a key that ends with one, is only described:
`token_count`, `password_reset_url`."""

IDENTITIES: Final = _words(
    "service.name service.namespace service.version service.instance.id deployment.environment.name host.id host.name "
    "container.id cloud.account.id cloud.resource_id k8s.pod.uid telemetry.sdk.name telemetry.sdk.version "
    "telemetry.distro.name telemetry.distro.version"
)
"""Attributes that identify the sender: their values are never hidden, because names of machines can
look like card numbers."""

TEXT_TRIGGERS: Final = _words(
    "pass pw secret token key auth cookie sess sid credential sig srf jwt cvv cvc card ccnum code ssn social iban otp "
    "pin bearer saml assertion connection webhook wort contrasena senha wachtwoord"
)
"""Every secret key contains one of these, in lower case: a text with none of them needs no closer
look."""

# Values in running text.

PLAIN_VALUES: Final = _words(
    "a absent accepted all an and any are argument authentication authorization automatic await bad be blank bool bytes "
    "cannot changed class could day days def denied detected did disabled does doesn't don't empty enabled error "
    "expected expired failed false field final float for found from generated got has have header hidden hour hours if in "
    "incorrect int invalid is it list login malformed masked match minute minutes missing mismatch must n/a needs "
    "never nil no none not null object of off ok on or optional out parameter present read redacted refresh refused "
    "rejected required requires reset revoked revoke rotate second seconds self set should str string supplied the "
    "this to too true type undefined unexpected unknown unset unsupported unterminated updated valid value verified "
    "verify was wasn't were will with wrong yes you your"
)
"""Words that follow `password:` and the like in prose and in source code, and are no secrets."""

SCHEMES: Final = _words(
    "apikey aws4-hmac-sha256 basic bearer digest dpop hawk hmac hoba key mutual negotiate ntlm oauth signature token"
)
"""Authentication schemes, in lower case: the first word of a header that carries credentials."""

STATEMENT_TRIGGERS: Final = ("select", "insert", "update", "delete", "replace", "merge", "create", "alter")
"""Every statement with literals begins with one of these, in lower case."""

DATABASE_TRIGGERS: Final = (
    *(
        "[parameters",
        "[generated in",
        "[cached since",
        "[no key",
        "[raw sql",
        "[caching",
        "args=",
        "key (",
        "incorrect ",
    ),
    *("row contains", "duplicate entry", "input syntax", "identified by", "set password"),
)
"""Every text of :data:`DATABASE_TEXTS` contains one of these, in lower case."""

DATABASE_TEXTS: Final = lazy(
    r"\[parameters: (?P<parameters>)"
    r"|\[(?:generated in|cached since|no key|raw sql|caching disabled)[^\]\n]{0,80}\] (?P<echo>[(\[{](?![)\]}]).*)"
    r"|; args=(?P<django>[(\[{](?![)\]}])[^\n]*?)(?=; alias=|\n|$)"
    r"|\bKey \([^)\n]{1,200}\)=\((?P<key>[^\n]{1,300}?)\)(?= already| is | conflicts)"
    r"|\brow contains \((?P<row>[^\n]{1,1000})\)"
    r"|\bDuplicate entry \\{0,3}'(?P<entry>[^\n]{1,300}?)\\{0,3}' for key"
    r"|\binput syntax for (?:type )?[\w ]{1,40}: \"(?P<syntax>[^\n]{1,300})\""
    r"|\bIncorrect \w{1,20} value: \\{0,3}'(?P<value>[^\n]{1,300}?)\\{0,3}' for column"
    r"|(?i:\bset password\b)[^='\"\n]{0,100}=[ ]?(?P<set>'[^'\n]{1,200}'?|\"[^\"\n]{1,200}\"?)"
    r"|(?i:\bidentified by )(?P<identified>'[^'\n]{1,200}'|\"[^\"\n]{1,200}\")",
    re.DOTALL,
)
"""How drivers and frameworks write the values of a statement into messages and logs. The group is
hidden, and everything after ``[parameters:``."""

_ALONE: Final = r"(?<![A-Za-z0-9])"

TOKENS: Final = {
    **{begin: _ALONE + begin + r"[A-Z0-9]{16}(?![A-Za-z0-9])" for begin in ("AKIA", "ASIA")},
    **{begin: begin + r"[A-Za-z0-9]{16,}" for begin in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")},
    "github_pat_": r"github_pat_[A-Za-z0-9_]{20,}",
    **{
        begin: begin + r"[\w-]{16,}"
        for begin in ("glpat-", "glptt-", "gldt-", "glrt-", "xapp-", "GOCSPX-", "dckr_pat_")
    },
    "xox": r"xox[a-z][.-][\w.-]{9,}",
    **{begin: _ALONE + begin + r"[A-Za-z0-9]{8,}" for begin in ("sk_live_", "sk_test_", "rk_live_", "rk_test_")},
    "whsec_": r"whsec_[A-Za-z0-9+/=]{16,}",
    "sk-": _ALONE + r"sk-(?:(?:proj|ant|svcacct|admin|or)-[\w-]{16,}|[A-Za-z0-9_]{20,}[\w-]*)",
    "AIza": r"AIza[\w-]{30,}",
    "ya29.": r"ya29\.[\w-]{16,}",
    "SG.": r"SG\.[\w-]{16,}\.[\w-]{16,}",
    "SK": _ALONE + r"SK[0-9a-f]{32}(?![A-Za-z0-9])",
    "npm_": r"npm_[A-Za-z0-9]{30,}",
    "pypi-": r"pypi-[\w-]{40,}",
    "hf_": _ALONE + r"hf_[A-Za-z0-9]{30,}",
    "glsa_": r"glsa_[A-Za-z0-9_]{20,}",
    "glc_": _ALONE + r"glc_[A-Za-z0-9+/=]{20,}",
    "dop_v1_": r"dop_v1_[0-9a-f]{32,}",
    "shpat_": r"shpat_[0-9a-fA-F]{24,}",
    "hvs.": r"hvs\.[\w-]{20,}",
    "AGE-SECRET-KEY-1": r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
}
"""The beginning of a vendor's tokens -> their shape. A shape is the beginning and at most two runs,
so it is linear in the text."""

WEBHOOKS: Final = {
    "hooks.slack": r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/([\w/-]{8,})",
    "/webhooks/": r"/webhooks/([0-9]{6,}/[\w-]{16,})",
    "webhook.office": r"webhook\.office\.com/webhookb2/([\w@/-]{16,})",
    "/bot": r"/bot([0-9]{6,}:[\w-]{20,})",
}
"""The same for URLs that are secrets themselves; only the group is hidden."""

# Commands.

PASSWORD_FLAGS: Final = {
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mysqlpump"), "p"),
    **dict.fromkeys(("mariadb", "mariadb-dump", "mariadb-admin", "mariadb-import", "mariadb-check"), "p"),
    **dict.fromkeys(("zip", "unzip", "sqlcmd", "bcp"), "P"),
    **dict.fromkeys(("7z", "7za", "7zz", "sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "login"), "p"),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify"), "w"),
    "curl": "uU",
    "redis-cli": "a",
    "smbclient": "U",
}
"""Program or subcommand -> its short options that take a secret, as in `mysql -pSECRET` and `docker
login -p SECRET`."""

ATTACHED_ONLY: Final = ("mysql", "mariadb", "7z")
"""Programs whose option takes the secret only without a space: `mysql -p shop` asks for it, and
`shop` is a database."""

USER_AND_PASSWORD: Final = ("curl", "smbclient")
"""Programs whose option takes a user too: an argument without a colon or a percent sign is no
secret."""

# Account numbers.

_IBANS: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SD18 "
    "SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)

IBAN_LENGTHS: Final = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}
"""Country -> length of its IBANs (ISO 13616 registry)."""

CARD: Final = lazy(
    r"(?=.{13}$|.{16}$|.{19}$)4"
    r"|(?=.{16}$)(?:5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)"
    r"|(?=.{15}$)3[47]"
    r"|(?=.{14}$)3(?:0[0-5]|[689])"
    r"|(?=.{16,19}$)(?:35(?:2[89]|[3-8])|6011|6[25]|64[4-9])"
    r"|(?=.{13,19}$)(?:50|5[678]|6[37])"
)
"""Lengths and first digits of payment card numbers, by issuer; timestamps and most order numbers do
not match."""
