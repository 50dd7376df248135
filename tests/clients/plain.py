"""Values as JSON has them, whichever client has read them."""

import datetime
import math

import pandas

UTC = datetime.timezone.utc


def plain(value):
    """An instant in milliseconds, a date as text, nothing for whatever stands for nothing."""
    if value is None or value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, datetime.datetime):
        return round(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1_000)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if hasattr(value, "item") else value
