export JAVA_HOME=/usr/lib/jvm/default-java
export SPARK_HOME=/opt/spark
export PATH="$SPARK_HOME/bin:$PATH"
export PYSPARK_PYTHON=/opt/jupyter/bin/python PYSPARK_DRIVER_PYTHON=/opt/jupyter/bin/python
# What a log-in shell or a module of the node says of another Spark.
unset SPARK_CONF_DIR SPARK_DIST_CLASSPATH HADOOP_CONF_DIR
