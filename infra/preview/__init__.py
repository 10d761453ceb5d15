"""Draws the dashboards before anything is deployed: from the synthesised template and a recording of a real node.

It stands for no part of CloudWatch beyond what our dashboards use, and says so where it meets more.
"""
