import os

import matplotlib.pyplot as plt
from pyspark.sql import SparkSession
from pyspark.sql.functions import avg, col, pandas_udf

assert os.path.isfile(os.path.join(os.environ["JAVA_HOME"], "bin/java"))
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False).getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
numbers = spark.range(0, 1000, numPartitions=2).withColumn("rest", col("id") % 4)


@pandas_udf("double")
def half(ids):
    return ids / 2


table = numbers.groupBy("rest").agg(avg(half("id")).alias("mean")).orderBy("rest").toPandas()
assert table["mean"].tolist() == [249.0, 249.5, 250.0, 250.5], table
table.plot.bar(x="rest", y="mean")
plt.show()
spark.stop()
