"""The bounds of a request and of a connection; the service refuses a request beyond them before it does any work."""

# The head: the address and the headers
MOST_HEAD = 64 << 10  # bytes
MOST_HEADERS = 100
HEAD_SECONDS = 10.0  # until a head is complete, and until an idle connection sends another

# The body; `Settings.most_bytes` bounds its size
BODY_SECONDS = 10.0  # until a body is complete; one second more for each
BODY_RATE = 16 << 10  # bytes received
MOST_SENT = 32 << 20  # bytes of one body with the frames of its chunks
MOST_FORM = 16 << 10  # bytes of the login form
MOST_FIELDS = 10  # of the login form
MOST_ENTRIES = 10_000  # of a list of events, items or users, or of lines of JSON
MOST_ENTRY = 2 << 20  # bytes of an entry of such a list, of a line, or of a body without a list
MOST_WITHIN = 60_000  # values of such an entry
MOST_DEPTH = 64  # levels of nesting
MOST_NAMES = 1_000  # of one object
MOST_VALUES = 300_000  # of a whole body

# Conditions
CONDITION_SECONDS = 5  # for a filter and boosts, including the wait for other requests
CHEAP_STEPS = 20_000_000  # of conditions that run without waiting
SHORT = 500  # characters of such conditions

# Connections
MOST_CONNECTIONS = 1_000  # of a worker; at most half the files that it may open
ANSWER_SECONDS = 30.0  # in which a client has to read some of its answer
BACKLOG = 256  # connections that the kernel queues
