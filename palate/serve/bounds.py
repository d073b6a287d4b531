"""The bounds of a request and of a connection: what is beyond them is refused before any work is done for it."""

# The head: the address and the headers
MOST_HEAD = 64 << 10  # bytes
MOST_HEADERS = 100
HEAD_SECONDS = 10.0  # for a head to come whole, and for an idle connection to begin another

# The body; `Settings.most_bytes` bounds its size
BODY_SECONDS = 10.0  # for a body to come whole, and one more for each
BODY_RATE = 16 << 10  # bytes of it that came
MOST_SENT = 32 << 20  # bytes that may be sent for one body, with the frames of its chunks
MOST_FORM = 16 << 10  # bytes of the form of the login
MOST_FIELDS = 10  # of the form
MOST_ENTRIES = 10_000  # of a list of events, items or users, or lines of JSON
MOST_ENTRY = 2 << 20  # bytes of an entry of such a list, of a line, or of a body that is none
MOST_WITHIN = 60_000  # values of it
MOST_DEPTH = 64  # levels of nesting
MOST_NAMES = 1_000  # of one object
MOST_VALUES = 300_000  # of a whole body

# Conditions
CONDITION_SECONDS = 5  # for a filter and boosts, with the time in which they wait for others'
CHEAP_STEPS = 20_000_000  # of conditions that wait for no others
SHORT = 500  # characters of them

# Connections
MOST_CONNECTIONS = 1_000  # of a worker; half the files it may open where that is less
ANSWER_SECONDS = 30.0  # in which a client has to take some of its answer
BACKLOG = 256  # connections that the kernel keeps until a worker takes them
