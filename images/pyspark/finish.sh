ln -s "$(echo /opt/jupyter/lib/python3*/site-packages/pyspark)" /opt/spark
ln -s /opt/jupyter/etc/spark /opt/spark/conf
# Debian's package doesn't make a class data archive of the JVM; without one each start takes a second longer.
/usr/lib/jvm/default-java/bin/java -Xshare:dump >/dev/null
