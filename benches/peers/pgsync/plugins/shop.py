"""What PGSync's schema cannot say: totals and counts, the order of orders, and timestamps in docmill's form."""

from pgsync.plugin import Plugin


def timestamp(text: str) -> str:
    """PostgreSQL's JSON form of a timestamptz (session in UTC) with microseconds and a Z."""
    text = text[:-6]
    if len(text) == 19:
        return text + ".000000Z"
    return text.ljust(26, "0") + "Z"


class Shop(Plugin):
    name = "Shop"

    def transform(self, doc: dict, **kwargs) -> dict:
        orders = doc["orders"] or []
        spent = 0
        for order in orders:
            order["placed_at"] = timestamp(order["placed_at"])
            lines = order["lines"] or ()
            # Prices have two digits behind the point: cents are exact, and so is their quotient.
            total = 0
            for line in lines:
                total += line["quantity"] * round(line["unit_price"] * 100)
            order["total"] = total / 100
            order["lines"] = len(lines)
            if order["status"] != "cancelled":
                spent += total
        orders.sort(key=lambda order: order["id"])
        doc["created_at"] = timestamp(doc["created_at"])
        doc["orders"] = orders
        doc["order_count"] = len(orders)
        doc["total_spent"] = spent / 100
        return doc
