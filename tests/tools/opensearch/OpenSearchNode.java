import java.lang.reflect.Constructor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.plugins.PluginInfo;

/**
 * One real OpenSearch node in this JVM: OpenSearchNode DIRECTORY HTTP_PORT [setting=value ...].
 * Listens on 127.0.0.1 only, on any free port when it is 0; prints "started PORT" when it answers; SIGTERM stops it.
 */
public class OpenSearchNode {
    private static final List<String> MODULES = List.of(
        "org.opensearch.transport.Netty4ModulePlugin", // 3.x
        "org.opensearch.transport.Netty4Plugin", // 2.x
        "org.opensearch.index.reindex.ReindexModulePlugin", // 3.x
        "org.opensearch.index.reindex.ReindexPlugin", // 2.x
        "org.opensearch.analysis.common.CommonAnalysisModulePlugin",
        "org.opensearch.analysis.common.CommonAnalysisPlugin",
        "org.opensearch.painless.PainlessModulePlugin",
        "org.opensearch.painless.PainlessPlugin",
        "org.opensearch.index.mapper.MapperExtrasModulePlugin",
        "org.opensearch.index.mapper.MapperExtrasPlugin");

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]).toAbsolutePath();
        Path config = Files.createDirectories(home.resolve("config"));
        Settings.Builder settings = Settings.builder()
            .put("path.home", home.toString())
            .put("cluster.name", "test")
            .put("node.name", "one")
            .put("network.host", "127.0.0.1")
            .put("http.port", args[1])
            .put("transport.port", "0")
            .put("discovery.type", "single-node")
            .put("transport.type", "netty4")
            .put("http.type", "netty4")
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (int i = 2; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        Environment environment =
            InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), config, () -> "one");
        Node node = node(environment);
        node.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception e) {
                e.printStackTrace();
            }
        }));
        HttpServerTransport http = node.injector().getInstance(HttpServerTransport.class);
        System.out.println("started " + http.boundAddress().publishAddress().getPort());
        new CountDownLatch(1).await();
    }

    /** The constructor that takes plugins is protected, and its type changed between 2.x and 3.x. */
    private static Node node(Environment environment) throws Exception {
        List<Object> classes = new ArrayList<>();
        for (String name : MODULES) {
            try {
                classes.add(Class.forName(name).asSubclass(Plugin.class));
            } catch (ClassNotFoundException e) {
                // the other major version's name
            }
        }
        for (Constructor<?> constructor : Node.class.getDeclaredConstructors()) {
            Class<?>[] types = constructor.getParameterTypes();
            if (types.length != 3 || types[1] != Collection.class) {
                continue;
            }
            constructor.setAccessible(true);
            boolean wantsInfo = constructor.getGenericParameterTypes()[1].getTypeName().contains("PluginInfo");
            Collection<Object> plugins = new ArrayList<>();
            for (Object type : classes) {
                String name = ((Class<?>) type).getName();
                plugins.add(wantsInfo
                    ? new PluginInfo(name, "module on the class path", "NA", org.opensearch.Version.CURRENT, "17", name,
                        null, List.of(), false)
                    : type);
            }
            return (Node) constructor.newInstance(environment, plugins, false);
        }
        throw new IllegalStateException("this OpenSearch has no Node constructor that takes plugins");
    }
}
