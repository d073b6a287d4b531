"""Faults that the service must withstand: kills, outages, damages, hostile requests, hours of load."""
