"""The currencies: how they are written, and what a person calls them."""

from typing import NamedTuple


class Currency(NamedTuple):
    """The names of one and of several, of the unit and of its hundredth; the last two are empty if nobody uses it."""

    one: str
    many: str
    cent: str = ""
    cents: str = ""

    def of(self, place: str) -> "Currency":
        """A country's own dollar or franc."""
        return self._replace(one=f"{place} {self.one}", many=f"{place} {self.many}")


_DOLLAR = Currency("dollar", "dollars", "cent", "cents")
_EURO = Currency("euro", "euros", "cent", "cents")
_POUND = Currency("pound", "pounds", "penny", "pence")
_YEN = Currency("yen", "yen")
_YUAN = Currency("yuan", "yuan", "fen", "fen")
_RUPEE = Currency("rupee", "rupees", "paisa", "paise")
_WON = Currency("won", "won")
_FRANC = Currency("franc", "francs", "centime", "centimes")
_LIRA = Currency("lira", "lira", "kurush", "kurush")
_REAL = Currency("real", "reais", "centavo", "centavos")
_PESO = Currency("peso", "pesos", "centavo", "centavos")
_BITCOIN = Currency("bitcoin", "bitcoins")

BY_SYMBOL = {
    "$": _DOLLAR,
    "€": _EURO,
    "£": _POUND,
    "¥": _YEN,
    "₹": _RUPEE,
    "₩": _WON,
    "₺": _LIRA,
    "₽": Currency("ruble", "rubles", "kopeck", "kopecks"),
    "₪": Currency("shekel", "shekels", "agora", "agorot"),
    "₫": Currency("dong", "dong"),
    "₴": Currency("hryvnia", "hryvnias", "kopeck", "kopecks"),
    "฿": Currency("baht", "baht", "satang", "satang"),
    "₿": _BITCOIN,
    "US$": _DOLLAR.of("US"),
    "C$": _DOLLAR.of("Canadian"),
    "CA$": _DOLLAR.of("Canadian"),
    "A$": _DOLLAR.of("Australian"),
    "AU$": _DOLLAR.of("Australian"),
    "NZ$": _DOLLAR.of("New Zealand"),
    "HK$": _DOLLAR.of("Hong Kong"),
    "S$": _DOLLAR.of("Singapore"),
    "R$": _REAL,
}
BY_CODE = {
    "USD": _DOLLAR.of("US"),
    "EUR": _EURO,
    "GBP": _POUND,
    "JPY": _YEN,
    "CNY": _YUAN,
    "RMB": _YUAN,
    "INR": _RUPEE,
    "KRW": _WON,
    "CHF": _FRANC.of("Swiss"),
    "CAD": _DOLLAR.of("Canadian"),
    "AUD": _DOLLAR.of("Australian"),
    "NZD": _DOLLAR.of("New Zealand"),
    "HKD": _DOLLAR.of("Hong Kong"),
    "SGD": _DOLLAR.of("Singapore"),
    "MXN": _PESO.of("Mexican"),
    "BRL": _REAL,
    "TRY": _LIRA,
    "SEK": Currency("Swedish krona", "Swedish kronor"),
    "NOK": Currency("Norwegian krone", "Norwegian kroner"),
    "DKK": Currency("Danish krone", "Danish kroner"),
    "PLN": Currency("zloty", "zloty", "grosz", "groszy"),
    "CZK": Currency("Czech koruna", "Czech koruna"),
    "ZAR": Currency("rand", "rand", "cent", "cents"),
    "AED": Currency("dirham", "dirhams"),
    "BTC": _BITCOIN,
}
