export JAVA_HOME=/usr/lib/jvm/default-java
export SPARK_HOME=/opt/spark
export PATH="$SPARK_HOME/bin:$PATH"
export PYSPARK_PYTHON=/opt/jupyter/bin/python PYSPARK_DRIVER_PYTHON=/opt/jupyter/bin/python
