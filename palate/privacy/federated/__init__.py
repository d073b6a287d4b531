"""Federated training: several clients fit one model, and nothing but sums over their users leaves them.

words.py      numbers as whole numbers of 32 or 64 bits, within a bound
masks.py      secure aggregation: the server learns a sum, and none of its terms
messages.py   what travels between a client and the server
party.py      a client: its log, and what it answers
group.py      the server's side of a sum: members, those who leave, bytes
ials.py  ease.py  averaging.py  noisy.py   what is summed for a model, and what is made of the sums
flower.py     the transport on Flower, with TLS and the keys of clients
"""
