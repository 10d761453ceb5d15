"""Identifiers as callers write them down: digit by digit, in groups, with every leading zero.

pipecat PR#5212, livekit/agents#1289.
"""

import pytest

from server.normalization.english import spoken_form

CODES = {
    "Your PIN is 0042.": "Your PIN is zero zero four two.",
    "Your PIN for the mobile app is 0042.": "Your PIN for the mobile app is zero zero four two.",
    "your PIN (0042)": "your PIN (zero zero four two)",
    "Your one-time passcode is 731 904.": "Your one-time passcode is seven three one, nine zero four.",
    "Use 482913 as your verification code.": "Use four eight two, nine one three as your verification code.",
    "482913 is your one-time code.": "four eight two, nine one three is your one-time code.",
    "The code to unlock the door is 4711.": "The code to unlock the door is four seven one one.",
    "Enter 4711 to confirm.": "Enter four seven one one to confirm.",
    "The code is X7K9Q2.": "The code is X seven K, nine Q two.",
    "Your code: 4-8-2-9.": "Your code: four eight two nine.",
    "Confirmation code: QWERTY": "Confirmation code: Q W E, R T Y",
    "booking reference KXWQZT": "booking reference K X W, Q Z T",
    "promo code SAVE20": "promo code SAVE twenty",
    "Use code SUMMER2026 today.": "Use code SUMMER twenty twenty-six today.",
    "the password is hunter2": "the password is hunter two",
    "The access code is 12345#.": "The access code is one two three four five pound.",
    "CVV 123": "CVV one two three",
    "X7K9Q2": "X seven K, nine Q two",
}
POSTCODES = {
    "ZIP 02139": "ZIP zero two one three nine",
    "ZIP code 02139-4307": "ZIP code zero two one three nine, four three zero seven",
    "94103-1234": "nine four one zero three, one two three four",
    "Boston, MA 02139": "Boston, Massachusetts zero two one three nine",
    "Portland, OR 97201.": "Portland, Oregon nine seven two zero one.",
    "SW1A 1AA": "S W one A, one A. A.",
    "The postcode is M1 1AE.": "The postcode is M one, one A. E.",
    "Toronto, ON M5V 2T6": "Toronto, ON M five V, two T six",
    "postcode 10115": "postcode one zero one one five",
}
TELEPHONES = {
    "Call 555-0123.": "Call five five five, zero one two three.",
    "Call +1 (617) 555-0123.": "Call plus one, six one seven, five five five, zero one two three.",
    "(617) 555-0123 x204": "six one seven, five five five, zero one two three, extension two zero four",
    "617-555-0123 ext. 204": "six one seven, five five five, zero one two three, extension two zero four",
    "617.555.0123": "six one seven, five five five, zero one two three",
    "+16175550123": "plus one, six one seven, five five five, zero one two three",
    "0800 123 4567": "zero eight zero zero, one two three, four five six seven",
    "(020) 7946 0958": "zero two zero, seven nine four six, zero nine five eight",
    "+44 20 7946 0958": "plus four four, two zero, seven nine four six, zero nine five eight",
    "07700 900123": "zero seven seven zero zero, nine zero zero, one two three",
    "+33 1 23 45 67 89": "plus three three, one, two three, four five, six seven, eight nine",
    "1800 123 456": "one eight zero zero, one two three, four five six",
    "Call 1-800-555-0199 today.": "Call one, eight zero zero, five five five, zero one nine nine today.",
    "Call 1-800-FLOWERS.": "Call one, eight zero zero, FLOWERS.",
    "Call 5551234567.": "Call five five five, one two three, four five six seven.",
    "Dial 911.": "Dial nine one one.",
    "In an emergency, call 112 or 999.": "In an emergency, call one one two or nine nine nine.",
    "Text STOP to 60098.": "Text STOP to six zero zero nine eight.",
    "Dial *67, then press #.": "Dial star six seven, then press pound.",
    "extension 4021": "extension four zero two one",
    "Call 100 customers.": "Call one hundred customers.",
    "Call me at 5, or in 20 minutes.": "Call me at five, or in twenty minutes.",
    "500-1000 words": "five hundred to one thousand words",
}
REFERENCES = {
    "order #48213": "order number four eight two one three",
    "Your order number is 48213.": "Your order number is four eight two one three.",
    "Order 48213 ships today.": "Order four eight two one three ships today.",
    "orders 48213 and 48214": "orders four eight two one three and four eight two one four",
    "No. 48213": "number four eight two one three",
    "the number I have is 48213": "the number I have is four eight two one three",
    "My reference number's 88121.": "My reference number's eight eight one two one.",
    "card ending in 4242": "card ending in four two four two",
    "the last four digits of your card are 8821": "the last four digits of your card are eight eight two one",
    "4242 4242 4242 4242": "four two four two, four two four two, four two four two, four two four two",
    "account 00123456": "account zero zero one two, three four five six",
    "sort code 20-00-00": "sort code two zero, zero zero, zero zero",
    "SSN 123-45-6789": "SSN one two three, four five, six seven eight nine",
    "Invoice INV-2024-0042 is due.": "Invoice I N V, two zero two four, zero zero four two is due.",
    "Ticket INC0012345": "Ticket I N C, zero zero one, two three four five",
    "Reference: AB12CD34.": "Reference: A. B one two, C D three four.",
    "AB-1234-CD": "A. B, one two three four, C D",
    "AB12 CDE": "A. B one two, C D E",
    "1Z999AA10123456784": "one Z nine nine, nine A. A. one, zero one two three, four five six seven, eight four",
    "GB82 WEST 1234 5698 7654 32": (
        "G B eight two, W E S T, one two three four, five six nine eight, seven six five four, three two"
    ),
    "550e8400-e29b-41d4-a716-446655440000": (
        "five five zero E, eight four zero zero, E two nine B, four one D four, A. seven one six, four four six six, "
        "five five four four, zero zero zero zero"
    ),
    "ISBN 978-3-16-148410-0": "ISBN nine seven eight, three, one six, one four eight, four one zero, zero",
    "00:1A:2B:3C:4D:5E": "zero zero, one A, two B, three C, four D, five E",
    "1234567": "one two three, four five six seven",
    "The plate is ABC 1234.": "The plate is A. B C, one two three four.",
    "My account is 55779911.": "My account is five five seven seven, nine nine one one.",
    "PO Box 1234": "PO Box one two three four",
}
PLACES = {
    "flight BA 2490": "flight B A, two four nine zero",
    "Flight UA123 leaves from gate B12.": "Flight U A. one two three leaves from gate B twelve.",
    "seats 14A and 14B": "seats fourteen A. and fourteen B",
    "Is it seat 14A?": "Is it seat fourteen A.?",
    "Your seat is 23B.": "Your seat is twenty-three B.",
    "rooms 201 and 202": "rooms two zero one and two zero two",
    "room 300": "room three hundred",
    "rows 10-12": "rows ten to twelve",
    "platform 9": "platform nine",
    "gate 42": "gate forty-two",
    "Highway 101": "Highway one zero one",
    "the Boeing 737": "the Boeing seven three seven",
    "error 404": "error four zero four",
    "Apt 4B": "Apt four B",
    "123 Main Street": "one twenty-three Main Street",
    "221B Baker Street": "two twenty-one B Baker Street",
    "4821 Oak Avenue": "forty-eight twenty-one Oak Avenue",
}
ADDRESSES = {
    "Write to jane.doe@example.com.": "Write to jane dot doe at example dot com.",
    "john_smith99@gmail.com": "john underscore smith nine nine at gmail dot com",
    "info@bbc.co.uk": "info at B B C dot co dot U K",
    "Go to example.com, please.": "Go to example dot com, please.",
    "https://www.example.org/a-b?": "example dot org slash A. dash B?",
    "docs.example.io:8443": "docs dot example dot I O colon eight four four three",
    "192.168.1.1": "one nine two dot one six eight dot one dot one",
    "10.0.0.0/8": "one zero dot zero dot zero dot zero slash eight",
    "Thanks.It was good.": "Thanks.It was good.",
}
QUANTITIES = {
    "Your code is 6 digits long.": "Your code is six digits long.",
    "The code expires in 10 minutes.": "The code expires in ten minutes.",
    "The PIN has 4 digits.": "The PIN has four digits.",
    "I'd like to order 1500 units.": "I'd like to order one thousand five hundred units.",
    "Your order of 3 pizzas is ready.": "Your order of three pizzas is ready.",
    "Your account balance is 2500.": "Your account balance is two thousand five hundred.",
    "The order is 1250 in total.": "The order is twelve fifty in total.",
    "order 5kg of flour": "order five kilograms of flour",
    "a ticket 1st class": "a ticket first class",
    "a code with 24-hour access": "a code with twenty-four-hour access",
    "You have 3 tickets.": "You have three tickets.",
    "No. 5 people came.": "No. five people came.",
    "You are number 42 in the queue.": "You are number forty-two in the queue.",
}
NAMES = {
    "MP3, B12 and H2O": "M P three, B twelve and H two O",
    "COVID-19 and GPT-4": "COVID nineteen and GPT four",
    "R2-D2 and C-3PO": "R two, D two and C three PO",
    "a 4K screen with 5G": "a four K screen with five G",
    "sha256": "sha two five six",
    "iPhone 15": "iPhone fifteen",
    "a 401(k), 24/7": "a four oh one K, twenty-four seven",
    "one-on-1": "one-on-one",
}


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        pair
        for kind in (CODES, POSTCODES, TELEPHONES, REFERENCES, PLACES, ADDRESSES, QUANTITIES, NAMES)
        for pair in kind.items()
    ],
)
def test_what_is_written_becomes_what_is_said(written: str, spoken: str) -> None:
    assert spoken_form(written) == spoken


def test_a_letter_a_never_stands_where_a_voice_takes_it_for_the_article() -> None:
    assert spoken_form("gate A1, seat 7A, code AA-77-A.") == "gate A. one, seat seven A, code A. A, seven seven, A."
