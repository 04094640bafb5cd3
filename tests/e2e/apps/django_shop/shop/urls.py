"""One route that queries the database and writes a log record, and one for health checks."""

import logging
import os

from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.urls import path

logger = logging.getLogger("shop")


def item(request, number):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 100 / %s", [number])
        (result,) = cursor.fetchone()
    logger.info("item %d", number)
    return JsonResponse({"pid": os.getpid(), "result": result})


urlpatterns = [path("items/<int:number>", item), path("healthz", lambda request: HttpResponse("fine"))]
