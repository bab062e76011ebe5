"""An OAuth 2.0 authorization server that is not ours: Django OAuth Toolkit, served by the standard library.

    oauth_server.py FOLDER PORT LIFETIME_S

keeps its clients and tokens in FOLDER, so that it can be killed and started again; port 0 is any. It says
`listening PORT` on standard output. Paths: /o/token/, /o/introspect/, /o/revoke_token/. Its one client is
`tidegate`, with the secret in the environment variable OAUTH_CLIENT_SECRET.
"""

import os
import socketserver
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

folder, port, lifetime_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

settings.configure(
    SECRET_KEY=os.urandom(32).hex(),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    # The client proves itself at every request; the usual hash takes half a second for that.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(folder, "oauth.sqlite3"),
            "OPTIONS": {"timeout": 20},
        }
    },
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": lifetime_s,
        "SCOPES": {"read": "Read", "orders:write": "Write orders"},
    },
)
django.setup()

urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]


class Handler(WSGIRequestHandler):
    """Says nothing about each request."""

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """Many requests at once."""

    daemon_threads = True


def main():
    call_command("migrate", verbosity=0)
    from oauth2_provider.models import Application

    secret = os.environ["OAUTH_CLIENT_SECRET"]
    if not Application.objects.filter(client_id="tidegate").exists():
        Application.objects.create(
            name="tidegate",
            client_id="tidegate",
            client_secret=secret,
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        )
    with make_server("127.0.0.1", port, get_wsgi_application(), Server, Handler) as server:
        print("listening", server.server_port, flush=True)
        server.serve_forever()


main()
