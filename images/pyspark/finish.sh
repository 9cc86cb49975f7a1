ln -s "$(echo /opt/jupyter/lib/python3*/site-packages/pyspark)" /opt/spark
ln -s /opt/jupyter/etc/spark /opt/spark/conf
# A class data archive of the JVM is Debian's to make; without one each start takes a second more.
/usr/lib/jvm/default-java/bin/java -Xshare:dump >/dev/null
