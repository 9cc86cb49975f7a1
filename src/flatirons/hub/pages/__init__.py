"""What the hub's pages show, as plain values that templates only have to place.

=======================  ==================================================================================
server_card              one server as a card says it
home                     all servers of a user, and how one more can be started
=======================  ==================================================================================
"""
