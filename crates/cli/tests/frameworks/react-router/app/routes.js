import { index, route } from "@react-router/dev/routes";

export default [
  index("routes/home.jsx"),
  route("hello/:name", "routes/hello.jsx"),
  route("api/hello", "routes/api.js"),
];
