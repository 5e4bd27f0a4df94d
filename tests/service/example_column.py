"""A version of DBStorage whose orders have one column more: a line in the table, and nothing else.

Import it before anything of dbstorage, as a module of its own process. The names are such as no real column will have.
"""

from dbstorage import order_columns
from dbstorage.order_columns import ColumnKind, OrderColumn

order_columns.ORDER_COLUMNS += (OrderColumn("exampleFee", ColumnKind.AMOUNT, alias="exampleCost"),)
