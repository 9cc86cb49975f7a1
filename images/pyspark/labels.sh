/opt/jupyter/bin/python - <<'END'
import importlib.metadata
for name in ("pyspark", "pyarrow"):
    print(f"org.flatirons.version.{name}", importlib.metadata.version(name))
END
echo "org.flatirons.version.java $(dpkg-query -W -f '${source:Upstream-Version}' "$(dpkg-query -W -f '${Depends}' default-jre-headless | grep -o 'openjdk-[0-9]*-jre-headless')")"
